"""What two ranks do together, and one process alone: `python rank_scenarios.py FOLDER` is what `mpiexec` starts.

Each function takes the ranks, or None for one process, and a folder; it gives arrays by name.
"""

import functools
import json
import os
import re
import sys
from pathlib import Path
from unittest import mock

import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import mx, parallel, sym
from tinygrad_lesson.engine.errors import BindError
from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.mxnet import NameManager
from tinygrad_lesson.train import ranks
from tinygrad_lesson.train.ranks import Ranks

ROWS = load()


def wide(symbol):
    """The symbol in double precision."""
    told = json.loads(symbol.tojson())
    for node in told["nodes"]:
        if node["op"] == "null":
            node.setdefault("attrs", {})["__dtype__"] = "1"
    return sym.load_json(json.dumps(told))


def model(name, dtype="float64", **settings):
    """A network of the lesson, for three epochs."""
    with NameManager():
        prediction = NETWORKS[name].build()
        loss = cross_entropy(prediction)
    if dtype == "float64":
        prediction, loss = wide(prediction), wide(loss)
    settings = {"num_epoch": 3, "seed": 3, **NETWORKS[name].training, **settings}
    return tl.FeedForward(loss, prediction=prediction, **settings)


def rows(batch_size=15, dtype="float64", **settings):
    """The lesson's rows, in batches that two ranks cannot share equally."""
    return tl.NDArrayIter(
        ROWS.train_data, ROWS.train_label, batch_size, label_name="label", dtype=dtype, **settings
    )


def learnt(made, history):
    """The parameters and the losses."""
    return {**made.arg_params, **made.aux_params, "loss": np.array(history.loss)}


def network(world, folder, name, dtype="float64"):
    """A network of the lesson, every batch shared."""
    made = model(name, dtype)
    history = made.fit(rows(dtype=dtype), parallel=world, keep=(2,))
    found = learnt(made, history)
    return {**found, "magnitudes": np.array(list(history.mean_abs_grad.values()))}


def by_messages(world, folder):
    """Where ranks share no memory, as on several machines: each has and updates all parameters."""
    with mock.patch.object(parallel, "MEMORY", "/nowhere"):
        return network(world, folder, "mlp4")


def with_norms(world, folder):
    """A step of which each part needs to know the whole parameter."""
    made = model("mlp4", optimizer="lamb", learning_rate=0.01)
    return learnt(made, made.fit(rows(dtype="float64"), parallel=world))


def in_memory(world, folder):
    """What one rank writes into memory that all share, the other sees once they have met."""
    found = np.zeros((2, 3)) if world is None else world.shared((2, 3), np.float64)
    for i in range(2) if world is None else [world.rank]:
        found[i] = i + 1
    if world:
        world.meet()
        assert world.shared((2, 1 << 50), np.float64) is None  # there is no room
        assert not list(Path(parallel.MEMORY).glob("tinygrad_lesson-*"))
    return {"rows": found}


def classes():
    """A network that ends in MXNet's loss, and its rows and class numbers."""
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc1")
    return sym.SoftmaxOutput(net, name="softmax"), ROWS.train_data, ROWS.train_label.argmax(1)


def shuffled(world, folder):
    """A loss that is a sum over rows, in an order that is drawn anew for each epoch."""
    net, X, y = classes()
    made = tl.FeedForward(net, num_epoch=3, seed=1, numpy_batch_size=15, learning_rate=0.1)
    return learnt(made, made.fit(X, y, shuffle=True, parallel=world))


def unseeded(world, folder):
    """First weights from a generator that stands elsewhere in each rank: those of rank 0 are taken."""
    tl.random.seed(world.rank if world else 0)
    net, X, y = classes()
    made = tl.FeedForward(net, num_epoch=1, numpy_batch_size=20)
    return learnt(made, made.fit(X, y, shuffle=True, parallel=world))


def halves(world):
    """Class numbers in batches of ten rows: those of this rank, or for one process both ranks' side by side."""
    _, X, y = classes()
    if world:
        return tl.NDArrayIter(X, y, 10, num_parts=world.size, part_index=world.rank)
    order = np.arange(100).reshape(2, 5, 10).swapaxes(0, 1).reshape(-1)
    return tl.NDArrayIter(X[order], y[order], 20)


def own_rows(world, folder):
    """MXNet's way: each rank has rows of its own."""
    made = tl.FeedForward(classes()[0], num_epoch=2, seed=1, learning_rate=0.1)
    return learnt(made, made.fit(halves(world), kvstore="dist_sync" if world else "local"))


def module(world, folder, inputs_need_grad=False):
    """MXNet's modules; rank 1 begins elsewhere, and takes what rank 0 has."""
    made = mx.mod.Module(classes()[0])
    batches = halves(world)
    mx.random.seed(5 + (world.rank if world else 0))
    made.bind(batches.provide_data, batches.provide_label, inputs_need_grad=inputs_need_grad)
    settings = {"initializer": mx.init.Uniform(0.1), "optimizer_params": {"learning_rate": 0.1}}
    made.fit(batches, num_epoch=2, kvstore=mx.kv.create("dist_sync" if world else "local"), **settings)
    found = {name: x.asnumpy() for name, x in made.get_params()[0].items()}
    if inputs_need_grad:
        part = world.part(20) if world else slice(0, 20)
        found["data"] = gathered(world, part, made.get_input_grads()[0].asnumpy(), (20, 4))
    return found


def jitted(world, folder):
    """A traced step and an optimizer over trees: each rank has half of the rows."""
    X, y = (np.asarray(x, float) for x in (ROWS.train_data, ROWS.train_label))
    X, y = (x[world.part(100)] if world else x for x in (X, y))
    params = {"w": tl.Tensor(np.full((4, 3), 0.1)), "b": tl.Tensor(np.zeros(3))}
    step = tl.jit(tl.value_and_grad(lambda p: tl.mean((X @ p["w"] + p["b"] - y) ** 2)))
    optimizer = tl.optim.Adam(0.01, parallel=world) if world else tl.optim.Adam(0.01)
    state = optimizer.init(params)
    for _ in range(5):
        _, grads = step(params)
        params, state = optimizer.update(params, grads, state)
    return {name: x.numpy() for name, x in params.items()}


def normalized(world, folder):
    """Batch normalization over seven rows, of which one rank has three: values, and derivatives of two orders."""
    X = np.random.default_rng(0).normal(size=(7, 2))
    weights = np.random.default_rng(1).normal(size=(7, 2))
    part = world.part(7) if world else slice(0, 7)
    settings = {"share": (part.stop - part.start) / 7} if world else {}
    F = tl.ops.nn.SyncBatchNorm if world else tl.ops.nn.BatchNorm
    op = F(eps=1e-3, fix_gamma=False, is_train=True, output_mean_var=True, **settings)
    gamma, beta, mean, var = np.array([1.5, 0.5]), np.zeros(2), np.zeros(2), np.ones(2)
    x, scale = (tl.Tensor(v, requires_grad=True) for v in (X[part], gamma))
    y, m, v = tl.tensor.apply(op, (x, scale, beta, mean, var))[:3]
    both = world.size if world else 1  # each rank adds what all have in common
    loss = tl.sum(y * y * weights[part]) + tl.sum(tl.sin(m) * v) / both
    dx, dgamma = tl.grad(loss, [x, scale], create_graph=True)
    second = tl.grad(tl.sum(dx * dx * weights[part]), [x])[0].numpy()
    pieces = {"y": y.numpy(), "dx": dx.numpy(), "second": second}
    if world:
        pieces = {name: gathered(world, part, array) for name, array in pieces.items()}
    return {**pieces, "dgamma": world.sum(dgamma.numpy()) if world else dgamma.numpy()}


def gathered(world, part, rows_, shape=(7, 2)):
    """All rows, of the ranks that have them."""
    whole = np.zeros(shape, rows_.dtype)
    whole[part] = rows_
    return world.sum(whole) if world else whole


def stored(world, folder):
    """A store of MXNet's: what rank 0 has first, then the sum of what all push."""
    store = mx.kv.create("dist_sync" if world else "local")
    out = mx.nd.zeros(2)
    store.init("w", mx.nd.array([5.0 + store.rank, 6.0]))
    store.pull("w", out)
    first = out.asnumpy().copy()
    store.push("w", [mx.nd.ones(2) * (store.rank + 1)] if world else [mx.nd.ones(2), mx.nd.ones(2) * 2])
    store.pull("w", out)
    store.barrier()
    return {"first": first, "sum": out.asnumpy()}


def saved(world, folder):
    """Two epochs and a checkpoint, which rank 0 writes at the end of the second."""
    told = []

    def note(epoch, *_):
        told.append(epoch)
        if epoch == 1:
            made.save(f"{folder}/{'two' if world else 'one'}", 2, states=True)

    made = model("mlp4", num_epoch=2)
    made.fit(rows(shuffle=True, generator=made.generator), parallel=world, epoch_end_callback=note)
    assert made.course is not None  # which says where a training after this one would go on
    return {"told": np.array(told)}


def resumed(world, folder):
    """Two epochs more, from the checkpoint that the others wrote."""
    made = tl.FeedForward.load(f"{folder}/{'one' if world else 'two'}", 2, num_epoch=4)
    return learnt(made, made.fit(rows(shuffle=True), parallel=world))


def streams(world, folder):
    """What dropout would draw in each rank."""
    made, executors, join = model("mlp4"), [], Ranks.join

    def noted(self, model_, executor, last):
        join(self, model_, executor, last)
        executors.append(executor)

    with mock.patch.object(Ranks, "join", noted):
        made.fit(rows(), parallel=world)
    shared, own = np.zeros((2, 3)), np.zeros((2, 3))
    shared[world.rank] = made.generator.uniform(0, 1, (3,))
    own[world.rank] = executors[0].generator.uniform(0, 1, (3,))
    return {"shared": world.sum(shared), "own": world.sum(own)}


def refusals(world, folder):
    """What a rank says of another training in rank 1, as bytes."""
    odd = world.rank == 1
    attempts = {
        "shapes": lambda: model("res6" if odd else "mlp4").fit(rows(), parallel=world),
        "seed": lambda: model("mlp4", seed=3 + odd).fit(rows(), parallel=world),
        "rate": lambda: model("mlp4", learning_rate=0.1 + odd).fit(rows(), parallel=world),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except BindError as error:
            found[name] = np.frombuffer(str(error).encode(), np.uint8)
    return found


SCENARIOS = {
    **{name: functools.partial(network, name=name) for name in ("mlp4", "res6", "bn8")},
    "single": functools.partial(network, name="mlp4", dtype="float32"),
    "module with gradients of data": functools.partial(module, inputs_need_grad=True),
    **{
        f.__name__: f
        for f in (
            *(by_messages, with_norms, in_memory, shuffled, unseeded),
            *(own_rows, module, jitted, normalized, stored, saved, resumed),
        )
    },
}


def page(world, folder):
    """The code of docs/parallel.md, block after block as one program."""
    text = (Path(__file__).parents[2] / "docs" / "parallel.md").read_text("utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names = {}
    os.chdir(folder)
    for block in blocks:
        exec(compile(block, "docs/parallel.md", "exec"), names)
    return {
        **{f"fit {name}": x for name, x in names["model"].arg_params.items()},
        "jit": names["params"]["w"].numpy(),
    }


def main(folder):
    """Go through all scenarios; each rank writes what it found."""
    if os.environ.get("RANK_SCENARIO") == "raise":
        world = tl.parallel.world()
        if world.rank == 1:
            raise RuntimeError("something broke here")
        world.sum(np.ones(1))
        return
    world = tl.parallel.world(sync=True)
    ranks.LEAST = 0  # small networks share memory too; those of `by_messages` do not
    found = {}
    for name, scenario in {**SCENARIOS, "streams": streams, "refusals": refusals, "page": page}.items():
        world.barrier()  # so that files are there
        found.update({f"{name}|{key}": np.asarray(x) for key, x in scenario(world, folder).items()})
    np.savez(Path(folder) / f"rank{world.rank}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1])
