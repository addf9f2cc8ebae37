"""Symbols in which one node has been given another rule or another forward."""

import dataclasses
from unittest import mock

import numpy as np

from tinygrad_lesson.graph import Node, outputs_of, substitute
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.op import FUNCTIONS, OPS, op
from tinygrad_lesson.symbol import Symbol

ROWS = np.random.default_rng(5).normal(size=(8, 4))
KINDS = np.eye(3)[np.arange(8) % 3]


def network(name):
    """A network of the lesson with its loss, and its inputs."""
    return cross_entropy(NETWORKS[name].build()), {"data": ROWS, "label": KINDS}


def computing(symbol):
    """The nodes of a symbol that compute something."""
    return [node for node in symbol.nodes if node.op is not None]


def unchanged(self, F, shapes, *inputs):
    """In the place of `rewrite`, which would put a right op in the place of a broken one."""


def changed(cls, **rules):
    """A subclass of an op with other rules, without entering the table for good."""
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        return op(
            type(
                f"Broken{cls.__name__}",
                (cls,),
                {"__doc__": "Broken.", "__module__": __name__, "rewrite": unchanged, **rules},
            )
        )


def planted(symbol, target, **rules):
    """The symbol with other rules at the node `target`."""
    made = changed(type(target.op), **rules)
    new = made(**{name: getattr(target.op, name) for name in (f.name for f in dataclasses.fields(target.op))})

    def rule(node, inputs):
        return outputs_of(Node(new, inputs, node.label)) if node is target else None

    return Symbol(substitute(symbol.heads, rule))


def with_gradients(cls, change):
    """A vjp that changes what the rule of `cls` gives."""

    def vjp(self, F, g, y, *inputs):
        found = [d() if callable(d) else d for d in cls.vjp(self, F, g, y, *inputs)]
        return tuple(None if d is None else change(d) for d in found)

    return vjp
