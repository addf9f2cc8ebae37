"""The checks of ``mx.test_utils`` under their names, over the engine of `check.gradients`.

Source
    MXNet 1.9, ``python/mxnet/test_utils.py``: parameters and their order. Numbers that it picks by
    hand are derived here: without `rtol` and `atol` half the digits of the element type must agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.check.divergence import OpError, assert_close
from tinygrad_lesson.check.gradients import in_order
from tinygrad_lesson.check.report import GradientError, Report
from tinygrad_lesson.check.subject import SEED, SymbolSubject
from tinygrad_lesson.check.verdict import Options
from tinygrad_lesson.engine.errors import BindError, near
from tinygrad_lesson.engine.graph import Edge, Node, edges_of
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.ops.copies import Cast
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.run import available_runners

INITIAL = 0  # seed of what is drawn: parameters, directions, what gradients are added to


@np.errstate(all="ignore")
def check_numeric_gradient(
    sym: Symbol, location: Any, aux_states: Any = None, numeric_eps: float | None = None, rtol: float | None = None,
    atol: float | None = None, grad_nodes: Any = None, use_forward_train: bool = True, ctx: Context | None = None,
    grad_stype_dict: Any = None, dtype: Any = np.float32,
) -> Report:  # fmt: skip
    """Gradients of `sym` at `location` (a list in order, or a dict) against differences, as `check.gradients`.

    Only those for `grad_nodes` if given: names, or a request by name, of which ``"null"`` leaves one out. The engine
    chooses its steps and its error bars, in double precision, to which casts to shorter floats are widened:
    `numeric_eps`, `ctx`, `grad_stype_dict` and `dtype` change nothing. With `rtol` or `atol` a difference within
    ``atol + rtol * |numeric|`` is let pass.

    Errors
        GradientError that carries the report; BindError for a location that does not fit the symbol.
    """
    sym = in_doubles(sym)
    arguments = located(sym.list_arguments(), location, "location", np.float64)
    states = located(sym.list_auxiliary_states(), aux_states, "aux_states", np.float64)
    asked = grad_nodes if isinstance(grad_nodes, Mapping) else {}
    names = [n for n in (arguments if grad_nodes is None else grad_nodes) if asked.get(n) != "null"]
    for name in names:
        if name not in arguments:
            raise BindError(f"grad_nodes: {name!r} is no argument; {near(name, arguments)}")
    if not names:
        return Report("check_numeric_gradient")  # of nothing
    subject = SymbolSubject(sym, {**arguments, **states}, names, use_forward_train)
    report = in_order(subject, Options(np.random.default_rng(INITIAL)))
    gaps = [(abs(e.analytic - e.numeric) - e.error_bar, abs(e.numeric)) for e in report.worst]
    within = gaps and all(gap <= (atol or 0) + (rtol or 0) * size for gap, size in gaps)
    if report.ok or ((rtol, atol) != (None, None) and report.verdict == "wrong" and within):
        return report
    raise GradientError(report)


def in_doubles(sym: Symbol) -> Symbol:
    """The symbol without casts to floats, and with results in double precision, so that nothing is rounded."""

    def rule(node: Node, inputs: tuple[Edge, ...]) -> Sequence[Edge] | None:
        op: Any = node.op
        kind = getattr(op, "type", None)
        if kind is None or np.dtype(kind).kind != "f":
            return None
        if isinstance(op, Cast):
            return inputs
        return edges_of(Edge, Node(dataclasses.replace(op, type="float64"), inputs, node.label))

    return Symbol(substitute(sym.heads, rule))


def located(names: Sequence[str], given: Any, what: str, dtype: Any) -> dict[str, np.ndarray]:
    """Arrays by name from a list in order or a dict, of one type or with ``"asnumpy"`` of their own.

    Errors
        BindError where one is missing, or one too many.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise BindError(f"{what} has {len(given)} arrays, expected {len(names)}: {', '.join(names)}")
        given = dict(zip(names, given, strict=True))
    for name in given:
        if name not in names:
            raise BindError(f"{what}: {name!r} is not known; {near(name, names)}")
    missing = [name for name in names if name not in given]
    if missing:
        raise BindError(f"{what} lacks {missing[0]!r}; given: {', '.join(given) or 'none'}")
    dtype = None if isinstance(dtype, str) and dtype == "asnumpy" else dtype
    return {name: np.array(given[name], dtype) for name in names}


def check_symbolic_forward(
    sym: Symbol, location: Any, expected: Any, rtol: float | None = None, atol: float | None = None,
    aux_states: Any = None, ctx: Context | None = None, equal_nan: bool = False, dtype: Any = np.float32,
) -> list[Any]:  # fmt: skip
    """Outputs of `sym` in prediction against `expected` (a list in order, or a dict by output); the outputs.

    Errors
        OpError naming the worst element; BindError for arrays that do not fit the symbol.
    """
    arguments = located(sym.list_arguments(), location, "location", dtype)
    states = located(sym.list_auxiliary_states(), aux_states, "aux_states", dtype)
    wanted = located(sym.list_outputs(), expected, "expected", None)
    executor = sym.bind(ctx or cpu(), arguments, grad_req="null", aux_states=states)
    outputs = executor.forward(is_train=False)
    for (name, z), y in zip(wanted.items(), outputs, strict=True):
        assert_close(y, z, f"check_symbolic_forward: {name}", rtol=rtol, atol=atol, equal_nan=equal_nan)
    return outputs


def check_symbolic_backward(
    sym: Symbol, location: Any, out_grads: Any, expected: Any, rtol: float | None = None, atol: float | None = None,
    aux_states: Any = None, grad_req: Any = "write", ctx: Context | None = None, grad_stypes: Any = None,
    equal_nan: bool = False, dtype: Any = np.float32,
) -> list[Any]:  # fmt: skip
    """Gradients of `sym` for the cotangents `out_grads` against `expected` (a list, or a dict by argument).

    With `grad_req` "add" they come on top of what is in the arrays, with "null" these do not change.
    `grad_stypes` changes nothing.

    Errors
        OpError naming the worst element; BindError for arrays that do not fit the symbol.
    """
    names = sym.list_arguments()
    arguments = located(names, location, "location", dtype)
    states = located(sym.list_auxiliary_states(), aux_states, "aux_states", dtype)
    listed = expected if isinstance(expected, Mapping) else located(names, expected, "expected", None)
    if isinstance(grad_req, str):
        requests = dict.fromkeys(names, grad_req)
    else:
        requests = dict(grad_req if isinstance(grad_req, Mapping) else zip(names, grad_req, strict=True))
    generator = np.random.default_rng(INITIAL)
    before = {n: generator.normal(size=arguments[n].shape).astype(arguments[n].dtype) for n in listed}
    arrays = {name: x.copy() for name, x in before.items()}
    wanted = {name: requests.get(name, "null") if name in listed else "null" for name in names}
    executor = sym.bind(ctx or cpu(), arguments, arrays, wanted, states)
    executor.forward(is_train=True)
    if isinstance(out_grads, Mapping):
        out_grads = [out_grads.get(name) for name in sym.list_outputs()]
    given = [None if g is None else np.asarray(g) for g in (() if out_grads is None else out_grads)]
    executor.backward(None if out_grads is None else given)
    for name, z in listed.items():
        request, found = wanted[name], arrays[name]
        start = before[name] if request != "write" else 0
        goal = start if request == "null" else start + np.asarray(z)
        what = f"check_symbolic_backward: gradient of {name}"
        assert_close(found, goal, what, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return executor.grad_arrays


def check_consistency(
    sym: Any, ctx_list: Sequence[Mapping[str, Any]], scale: float = 1.0, grad_req: Any = "write",
    arg_params: Mapping[str, Any] | None = None, aux_params: Mapping[str, Any] | None = None, rtol: Any = None,
    atol: Any = None, raise_on_err: bool = True, ground_truth: Mapping[str, Any] | None = None, equal_nan: bool = False,
    use_uniform: bool = False, rand_type: Any = np.float64,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Outputs and gradients of `sym` under several settings against those of the most precise; the latter.

    Each of `ctx_list` is a dict: the shape of each input by name, "ctx", "type_dict" (element types by name), and
    "runner" for one runner ("numpy", "vm"); without it all that are installed take part. `sym` may be a list, one
    symbol for each. Parameters are drawn, times `scale`, unless given. `rtol` and `atol`, one for both if only one is
    given, are numbers, or one by element type; by default half the digits. Without `raise_on_err` it is printed.

    Errors
        OpError naming setting, array and worst element.
    """
    symbols = list(sym) if isinstance(sym, list | tuple) else [sym] * len(ctx_list)
    rtol, atol = (atol if rtol is None else rtol), (rtol if atol is None else atol)
    pairs = zip(symbols, ctx_list, strict=True)
    bound = [each for symbol, entry in pairs for each in settings_of(symbol, dict(entry), grad_req)]
    best = max(range(len(bound)), key=lambda i: bound[i][1].outputs[0].dtype.itemsize)
    source, generator = bound[best][1], np.random.default_rng(INITIAL)
    for name, array in source.arguments.items():
        shape = array.shape
        drawn = generator.uniform(-0.92, 0.92, shape) if use_uniform else generator.normal(size=shape)
        array[...] = (arg_params or {}).get(name, (drawn * scale).astype(rand_type))
    for name, array in source.states.items():
        array[...] = (aux_params or {}).get(name, 0)
    for is_train in (False, True) if grad_req != "null" else (False,):
        runs = [results_of(executor, source, is_train) for _, executor in bound]
        goal = dict(ground_truth or runs[best])
        for (title, executor), found in zip(bound, runs, strict=True):
            for name in (name for name in found if name in goal):
                what = f"gradient of {name}" if name in executor.gradients else name
                said, kind = f"check_consistency: {what} with {title}", found[name].dtype
                try:
                    tols: Any = {"rtol": tolerance_of(rtol, kind), "atol": tolerance_of(atol, kind)}
                    assert_close(found[name], goal[name], said, equal_nan=equal_nan, **tols)
                except OpError as error:
                    if raise_on_err:
                        raise
                    print(error)
    return {name: np.array(y) for name, y in goal.items()}


def settings_of(symbol: Symbol, entry: dict[str, Any], grad_req: Any) -> list[tuple[str, Executor]]:
    """An executor for each runner of a setting, with what to call it."""
    context, dtypes, runner = entry.pop("ctx", cpu()), entry.pop("type_dict", {}), entry.pop("runner", None)
    kinds = ", ".join(sorted({str(np.dtype(d)) for d in dtypes.values()})) or "float32"
    made = []
    for name in available_runners() if runner is None else [runner]:
        executor = symbol.simple_bind(context, grad_req, dtypes, runner=name, **entry)
        executor.generator = MXNetGenerator(SEED)
        made.append((f"{context}, {kinds}, runner {name!r}", executor))
    return made


def results_of(executor: Executor, source: Executor, is_train: bool) -> dict[str, np.ndarray]:
    """Outputs, and in training gradients, at the numbers in `source`, whose states stay as they are."""
    kept = {name: array.copy() for name, array in source.states.items()}
    for name, array in executor.arguments.items():
        array[...] = source.arguments[name]
    for name, array in executor.states.items():
        array[...] = kept[name]
    for array in executor.gradients.values():
        array[...] = 0
    executor.generator.reseed(SEED)
    outputs = [np.array(y) for y in executor.forward(is_train=is_train)]
    found = dict(zip(executor.output_names, outputs, strict=True))
    if is_train:
        executor.backward(outputs)
        found |= {name: np.array(g) for name, g in executor.gradients.items()}
    for name, array in kept.items():
        source.states[name][...] = array
    return found


def tolerance_of(tol: Any, dtype: np.dtype[Any]) -> float | None:
    """What is allowed for an element type; None for half its digits."""
    return {np.dtype(key): t for key, t in tol.items()}.get(dtype) if isinstance(tol, Mapping) else tol
