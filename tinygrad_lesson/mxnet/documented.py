"""What `help` shows of an operator: its inputs and attributes with their defaults, and what each means."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.namespace import meaning, with_attributes
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet.register import Operator

SOME: dict[str, Any] = {  # attributes that have no default, so that there is an op to ask for its inputs
    "act_type": "relu", "sample_type": "nearest", "mode": "lstm", "shape": (1,), "kernel": (1, 1), "axes": (0,),
    "pad_width": (0, 0), "begin": (0,), "end": (1,), "dtype": "float32", "num_args": 1, "scale": 1,
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
    "high": "upper end of the numbers, itself left out",
    "infer_range": "not supported: the end is never inferred",
    "is_ascend": "whether the smallest comes first",
    "k": "number of the diagonal, of elements, or of failures",
    "lam": "rate of the distribution",
    "layout": "order of the axes; channels follow the batch",
    "loc": "mean of the distribution",
    "low": "lower end of the numbers",
    "lower_bound": "least slope, for rrelu",
    "mode": "how: the words that MXNet takes",
    "mu": "mean of the distribution",
    "num_filter": "number of filters, the channels of the result",
    "op_type": "the name under which an operator was registered",
    "output_mean_var": "whether mean and variance are results too",
    "p": "part of the elements that are dropped, or the probability of a success",
    "repeat": "how often each",
    "ret_typ": "what is given: value, indices, mask or both",
    "sample_type": "nearest or bilinear",
    "scale": "standard deviation of the distribution, or how many times as large",
    "step": "distance from each to the next",
    "upper_bound": "largest slope, for rrelu",
    "use_length": "whether lengths are an input",
}


def example(known: Operator) -> Op | None:
    """An op that the operator makes; None where its attributes are too particular."""
    needed = {key: p for key, p in known.parameters.items() if p.default is p.empty}
    kinds = {int: 1, float: 1.0, tuple[int, ...]: (1,), tuple[float, ...]: (1.0,), bool: False}
    try:
        return known.build(**{key: SOME.get(key, kinds.get(p.annotation, "")) for key, p in needed.items()})
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
    """What an operator is, and the meaning of each attribute."""
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
    return with_attributes(doc, lines)
