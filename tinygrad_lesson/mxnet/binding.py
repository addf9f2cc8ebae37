"""From a symbol and shapes or arrays to an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, is_array, read_only_memory, require_device, zeros_at
from tinygrad_lesson.engine.errors import BindError, listed, near, shown
from tinygrad_lesson.engine.graph import Edge
from tinygrad_lesson.engine.infer import infer_dtypes, infer_shapes
from tinygrad_lesson.engine.shapes import is_complete, show
from tinygrad_lesson.mxnet.bound import Flat, check_shape, in_place, numbers_there, room_for_arrays
from tinygrad_lesson.mxnet.executor import REQUESTS, Executor
from tinygrad_lesson.mxnet.leaves import variables


def simple_bind(
    symbol: Any,
    ctx: Context,
    grad_req: Any,
    dtypes: Mapping[str, Any],
    shapes: Mapping[str, Any],
    **settings: Any,
) -> Executor:
    """An executor whose arrays follow from the shapes of some arguments."""
    require_device(ctx)
    order = symbol.nodes
    arguments, states = variables(order)
    leaves = [*arguments, *states]
    given = symbol.given_shapes((), shapes, "simple_bind")
    found = infer_shapes(order, given, "simple_bind")
    single = np.dtype(np.float32)
    types = infer_dtypes(order, symbol.given_dtypes((), dtypes, "simple_bind"), single, "simple_bind")
    for node in leaves:
        if not is_complete(found[Edge(node)]):
            told = listed(f"{name}={shape}" for name, shape in shapes.items()) or "none"
            raise BindError(
                f"simple_bind: the shape of {node.name!r} is {show(found[Edge(node)])}; "
                f"shapes given: {told}; give {shown(node.name)}=(...)"
            )

    def specs(nodes: Sequence[Any]) -> list[Any]:
        return [(n.name, found[Edge(n)], types[Edge(n)]) for n in nodes]

    requests = read_requests(grad_req, [node.name for node in arguments])
    trained = [node for node in arguments if requests[node.name] != "null"]
    with room_for_arrays("simple_bind"):
        parameters, gradients = Flat(specs(trained), ctx), Flat(specs(trained), ctx)
        kept = [spec for spec in specs(leaves) if spec[0] not in parameters.arrays]
        bound = {**parameters.arrays, **{name: zeros_at(ctx, shape, dtype) for name, shape, dtype in kept}}
    executor = Executor(
        symbol.heads,
        symbol.list_outputs(),
        {node.name: bound[node.name] for node in arguments},
        gradients.arrays,
        {node.name: bound[node.name] for node in states},
        requests,
        context=ctx,
        known=(found, types),
        **settings,
    )
    executor.flat_parameters, executor.flat_gradients = parameters, gradients
    return executor


def bind(
    symbol: Any, ctx: Context, args: Any, args_grad: Any, grad_req: Any, aux_states: Any, **settings: Any
) -> Executor:
    """An executor over given arrays."""
    arguments, states = ([node.name for node in nodes] for nodes in variables(symbol.nodes))
    bound = by_name(args, arguments, "args", needed=True)
    auxiliary = by_name(aux_states, states, "aux_states", needed=True)
    gradients = by_name(args_grad, arguments, "args_grad", needed=False)
    requests = read_requests(grad_req, arguments)
    requests = {name: request if name in gradients else "null" for name, request in requests.items()}
    kept = {name: array for name, array in gradients.items() if requests[name] != "null"}
    for name, array in kept.items():
        check_shape(bound[name], array, f"bind: the gradient of {name!r}")
    for name, array in (*kept.items(), *auxiliary.items()):
        if read_only_memory(array):
            raise BindError(f"bind: the array for {name!r} is read-only; results have to be written there")
    return Executor(
        symbol.heads, symbol.list_outputs(), bound, kept, auxiliary, requests, context=ctx, **settings
    )


def check_groups(symbol: Any, group2ctx: Any) -> None:
    """Refuse devices that plans cannot run on, and those for groups that no node is in.

    Errors
        BindError for an unknown group; DeviceError for a device.
    """
    if not isinstance(group2ctx, Mapping | None):
        raise BindError(
            f"bind: group2ctx is {group2ctx!r}, expected a dict from the name of a group to its device"
        )
    labels = [node.label.attributes for node in symbol.nodes]
    known = {label.get("__ctx_group__", label.get("ctx_group", "")) for label in labels}
    for name, device in (group2ctx or {}).items():
        if name not in known:
            raise BindError(
                f"bind: no node is in the group {name!r} of group2ctx; {near(str(name), sorted(known - {''}))}"
            )
        require_device(device)


def by_name(given: Any, names: Sequence[str], what: str, needed: bool) -> dict[str, np.ndarray]:
    """Arrays by name from a list in order or a dict; what is no array yet becomes one of float32.

    As in MXNet a dict of arguments or states may hold more than is asked for.

    Errors
        BindError for a missing array, a list of another length, or a gradient for what is no argument.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        given = list(given)
        if len(given) != len(names):
            raise BindError(f"bind: {what} has {len(given)} arrays, expected {len(names)}: {listed(names)}")
        given = dict(zip(names, given, strict=True))
    known = set(names)
    unknown = [name for name, array in given.items() if name not in known and array is not None]
    if unknown and not needed:
        raise BindError(f"bind: {what} holds {unknown[0]!r}, which is no argument; {near(unknown[0], names)}")
    missing = [name for name in names if given.get(name) is None]
    if missing and needed:
        close = near(missing[0], [str(name) for name in given]).replace("it takes", "given:")
        raise BindError(f"bind: {what} lacks {missing[0]!r}; {close}")
    arrays = {name: given[name] for name in names if given.get(name) is not None}
    return {name: as_bound(a, f"bind: {what} {name!r}") for name, a in arrays.items()}


def as_bound(value: Any, what: str) -> np.ndarray:
    """An array where it lies; what is no array yet becomes one of float32."""
    value = in_place(value)
    array = numbers_there(value, what, None if is_array(value) else np.float32)
    return array.view(np.ndarray) if isinstance(array, np.ndarray) else array


def read_requests(grad_req: Any, names: Sequence[str]) -> dict[str, str]:
    """What is asked for each argument: one word for all, a list in order, or a dict (null elsewhere).

    As in MXNet a dict that leaves no argument out may hold more.

    Errors
        BindError for a word that is none of write, add, null, or a name that may be meant for one that is left out.
    """
    if isinstance(grad_req, str):
        requests = dict.fromkeys(names, grad_req)
    elif isinstance(grad_req, Mapping):
        known = set(names)
        unknown = [name for name in grad_req if name not in known]
        if unknown and not known <= set(grad_req):
            raise BindError(f"grad_req: {unknown[0]!r} is no argument; {near(unknown[0], names)}")
        requests = {name: grad_req.get(name, "null") for name in names}
    else:
        if len(grad_req) != len(names):
            raise BindError(f"grad_req has {len(grad_req)} entries, expected {len(names)}: {listed(names)}")
        requests = dict(zip(names, grad_req, strict=True))
    for name, request in requests.items():
        if request not in REQUESTS:
            raise BindError(f"grad_req: {request!r} for {name!r}, expected one of {', '.join(REQUESTS)}")
    return requests
