"""What `help` shows of an operator: its inputs and attributes with their defaults, and what each means."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from typing import Any

from tinygrad_lesson.eager.documented import facts
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.namespace import meaning, section
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet.register import Operator, fits

SOME: dict[str, Any] = {  # attributes that have no default, so that there is an op to ask for its inputs
    "act_type": "relu", "sample_type": "nearest", "mode": "lstm", "shape": (1,), "kernel": (1, 1), "axes": (0,),
    "pad_width": (0, 0), "begin": (0,), "end": (1,), "dtype": "float32", "num_args": 1, "scale": 1, "stype": "default",
}  # fmt: skip
MEANS = {  # attributes that operators have which are written in several ops
    "a_max": "largest value that is left",
    "a_min": "smallest value that is left",
    "act_type": "which function",
    "alpha": "shape of the distribution, or its dispersion",
    "axis": "the axis along which",
    "begin": "where each axis begins; negative counts from its end, None begins at its end",
    "beta": "scale of the distribution, or the axis-wise addend",
    "clip_grad": "largest size of a gradient; none if negative",
    "constant_value": "what is put around, for mode constant",
    "dim1": "the one axis",
    "dim2": "the other axis",
    "dtype": "element type of the result",
    "end": "where each axis ends, itself left out",
    "get_prob": "whether the logarithms of the probabilities are a second result",
    "height": "how many rows",
    "high": "upper end of the numbers, itself left out",
    "indices": "where a part begins; the first is 0",
    "infer_range": "not supported: the end is never inferred",
    "is_int": "only True: beside integers the number is cut off to one",
    "is_ascend": "whether the smallest comes first",
    "k": "number of the diagonal, of elements, or of failures",
    "lam": "rate of the distribution",
    "keep_highest": "whether the first size is kept, with `target_shape`",
    "layout": "order of the axes; channels follow the batch",
    "loc": "mean of the distribution",
    "low": "lower end of the numbers",
    "lower_bound": "least slope, for rrelu",
    "mode": "how: the words that MXNet takes",
    "mu": "mean of the distribution",
    "num_filter": "number of filters, the channels of the result",
    "op_type": "the name under which an operator was registered",
    "out_dtype": "element type of the result; None is that of the data",
    "output_mean_var": "whether mean and variance are results too",
    "p": "part of the elements that are dropped, or the probability of a success",
    "repeat": "how often each",
    "ret_typ": "what is given: value, indices, mask or both",
    "sample_type": "nearest or bilinear",
    "scale": "standard deviation of the distribution, or how many times as large",
    "sections": "how many equal parts, in the place of `indices`",
    "squeeze_axis": "whether the axis that is cut goes, along which each part is of size 1",
    "step": "distance from each to the next",
    "stype": "how the elements are kept: 'default', since all of them are here",
    "target_shape": "the shape as files from before `shape` have it; 0 is what is left over",
    "upper_bound": "largest slope, for rrelu",
    "use_length": "whether lengths are an input",
    "width": "how many columns",
    "x": "the first column",
    "y": "the first row",
}


def needed(known: Operator) -> dict[str, Any]:
    """Something for each attribute that must be given."""
    found = {}
    for key, p in known.parameters.items():
        if p.default is p.empty or key == "shape":  # in whose place `Reshape` may have an older one
            kinds = (
                typing.get_args(p.annotation)
                if isinstance(p.annotation, types.UnionType)
                else (p.annotation,)
            )
            guess = SOME.get(key)
            found[key] = (
                guess if guess is not None and any(fits(guess, k) for k in kinds) else KINDS.get(kinds[0], "")
            )
    return found


KINDS: dict[Any, Any] = {int: 1, float: 1.0, tuple[int, ...]: (1,), tuple[float, ...]: (1.0,), bool: False}


def example(known: Operator) -> Op | None:
    """An op that the operator makes; None where its attributes are too particular."""
    try:
        return known.build(**needed(known))
    except (LessonError, KeyError, TypeError):
        return None


def signature(known: Operator) -> inspect.Signature:
    """Inputs, then attributes with their defaults in MXNet's order, then what the node is called."""
    kind, made = inspect.Parameter, example(known)
    taken: Any = made or known.build
    variadic = getattr(taken, "variadic", made is None and not known.inputs)
    names: Any = known.inputs or getattr(taken, "inputs", ())
    inputs = [kind(name, kind.POSITIONAL_OR_KEYWORD, default=None) for name in names]
    if variadic:
        inputs = [kind("data", kind.VAR_POSITIONAL)]
    order = known.order.split() or list(known.parameters)
    attributes = []
    for key in [*order, *[key for key in known.parameters if key not in order]]:
        own = known.parameters.get(key, kind(key, kind.KEYWORD_ONLY, default=None))
        how = kind.KEYWORD_ONLY if variadic or key not in order else kind.POSITIONAL_OR_KEYWORD
        if own.default is own.empty and how is not kind.KEYWORD_ONLY:
            own = own.replace(default=None)  # since inputs, which may be left out, come before
        attributes.append(own.replace(kind=how))
    named = [kind(key, kind.KEYWORD_ONLY, default=None) for key in ("name", "attr")]
    more = [kind("more", kind.VAR_KEYWORD)] if known.takes_any else []
    return inspect.Signature([*inputs, *attributes, *named, *more])


def documented(known: Operator) -> str | None:
    """What an operator is, the meaning of each attribute, shapes, where it is not smooth, and an example."""
    made = example(known)
    doc = known.build.__doc__
    if made is not None and (doc is None or doc.startswith("The op behind")):
        doc = type(made).__doc__
    if not doc:  # `python -OO`
        return doc
    fields = dataclasses.fields(known.build if isinstance(known.build, type) else made) if made else ()
    by_name = {f.metadata.get("alias"): f for f in fields} | {f.name: f for f in fields}
    lines = []
    for key, own in known.parameters.items():
        told = meaning(by_name[key]) if key in by_name else MEANS.get(key, "")
        lines.append(f"{key}: {told}" + (" (must be given)" if own.default is own.empty else ""))
    if known.ignored:
        lines.append(f"{', '.join(sorted(known.ignored))}: taken, and without effect here")
    doc = section(doc, "Attributes", lines)
    if made is None or not made.ours:
        return doc
    behind: Op = getattr(made, "binary", made)
    doc = facts(type(behind), doc)[0]
    several = hasattr(made, "num_weights")  # so many arrays that a call says nothing
    return section(doc, "Example", [] if several else example_of(known, made))


def example_of(known: Operator, made: Op) -> list[str]:
    """A call, and what arguments it has: those that are not given have names of their own."""
    names = known.input_names(made, 2 if made.variadic else len(made.input_names))
    first = list(names) if made.variadic else list(names[:1])
    given = [f"sym.Variable({name!r})" for name in first]
    given += [f"{key}={value!r}" for key, value in needed(known).items()]
    states = set(known.arranged(made, names)[len(names) - len(made.states) :])
    arguments = first + [f"y_{name}" for name in names[len(first) :] if name not in states]
    call = ", ".join([*given, 'name="y"'])
    return [
        ">>> from tinygrad_lesson import sym",
        f">>> sym.{known.name}({call}).list_arguments()",
        repr(arguments),
    ]
