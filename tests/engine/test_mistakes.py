"""Mistakes in the declaration of an op: each is one error that names the op, and what would be right."""

from unittest import mock

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import LessonError, Tensor
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise, Op, op

A, B = np.ones((3, 2)), np.ones(2)


def declared(name="Mistaken", base=Elementwise, **changes):
    """The product of two arrays as an op of a user, with changes."""
    body = {
        "__doc__": "The product.",
        "__module__": "users",
        "__qualname__": name,
        "forward": lambda self, xp, a, b: xp.multiply(a, b),
        "vjp": lambda self, F, g, y, a, b: (g * b, g * a),
        **changes,
    }
    return op(type(name, (base,), {key: value for key, value in body.items() if value is not None}))


def differentiated(**changes):
    """The gradients of a declared op."""
    a, b = Tensor(A, requires_grad=True), Tensor(B, requires_grad=True)
    tl.sum(a.F.apply(declared(**changes)(), (a, b))).backward()


def rule(vjp, **more):
    return lambda: differentiated(vjp=lambda self, F, g, y, a, b: vjp(F, g, y, a, b), **more)


def broadcasts(self, a, b):
    return a


MISTAKES = {
    "a name that is taken": (
        lambda: declared("Tanh", __module__="users"),
        r"op Tanh is declared in tinygrad_lesson.ops.elementwise already; choose another name",
    ),
    "a function that is taken": (
        lambda: declared("Matmul"),
        r"op Matmul would be called as `matmul`, which is op MatMul of .*; choose another name",
    ),
    "a name of a module": (lambda: declared("Viz"), r"op Viz: `viz` is .* already; choose another name"),
    "no shape rule": (
        lambda: declared(base=Op),
        r"op Mistaken declares no shape rule: write `def shape\(self, a, b\)`.*Elementwise",
    ),
    "no docstring": (lambda: declared(__doc__=None), r"op Mistaken has no docstring"),
    "no rule": (lambda: declared(vjp=None), r"op Mistaken declares no `vjp`"),
    "a gradient of the wrong shape": (
        rule(lambda F, g, y, a, b: (g * b, g * a), base=Op, shape=broadcasts),
        r"Mistaken\(\): vjp gives a gradient of shape \(3, 2\) for b, which is \(2,\); where .* F.sum_like\(gradient, b\)",
    ),
    "a gradient of no shape that was broadcast": (
        rule(lambda F, g, y, a, b: (F.sum(g), g * a)),
        r"Mistaken\(\): vjp gives a gradient of shape \(\) for a, which is \(3, 2\)",
    ),
    "too few gradients": (
        rule(lambda F, g, y, a, b: (g * b,)),
        r"Mistaken\(\): vjp gives 1 gradients, expected 2, one per input",
    ),
    "no tuple": (
        rule(lambda F, g, y, a, b: g * b),
        r"Mistaken\(\): vjp gives a ndarray, expected a tuple, one gradient per input",
    ),
    "a text": (
        rule(lambda F, g, y, a, b: ("g * b", g * a)),
        r"Mistaken\(\): vjp gives a str for a, expected a gradient computed by F",
    ),
    "a list": (
        rule(lambda F, g, y, a, b: (g * b, lambda: [1.0, 2.0])),
        r"Mistaken\(\): vjp gives a list for b, expected a gradient computed by F",
    ),
    "an exception": (
        rule(lambda F, g, y, a, b: (g / 0 if False else 1 // 0, g)),
        r"Mistaken\(\): its vjp fails: ZeroDivisionError: .*; line \d+ of test_mistakes.py",
    ),
    "an exception in what is computed later": (
        rule(lambda F, g, y, a, b: (g * b, lambda: F.reshape(g, shape=(5,)))),
        r"Mistaken\(\): its vjp fails: ShapeError: .*; line \d+ of test_mistakes.py",
    ),
    "an op that is not there": (
        rule(lambda F, g, y, a, b: (F.tahn(g), g * a)),
        r"Mistaken\(\): its vjp fails: AttributeError: there is no op called 'tahn'; line \d+ of test_mistakes.py",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_declaration_is_one_error_that_names_the_op(mistake):
    provoke, message = MISTAKES[mistake]
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        before = dict(OPS), dict(FUNCTIONS)
        with pytest.raises(LessonError, match=rf"^{message}") as caught:
            provoke()
        if "declare" in str(caught.value) or "already" in str(caught.value):
            assert before == (OPS, FUNCTIONS)
    assert "\n" not in str(caught.value)


def test_a_right_declaration_is_none_of_them():
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        differentiated()


@pytest.mark.parametrize("number", [2, 2.0, True])
def test_a_number_is_a_gradient_of_what_has_no_axes(number):
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        made = declared(vjp=lambda self, F, g, y, a, b: (number, lambda: None))()
        x = Tensor(3.0, requires_grad=True)
        x.F.apply(made, (x, 2.0)).backward()
        assert (x.grad.item(), x.grad.dtype) == (float(number), np.float64)
