"""How fast a card trains: steps of `fit`, replayed, beside PyTorch's where it is installed; and a chain beside a copy.

    python tests/benchmarks/on_card.py              all rows; says why where there is no card
    python tests/benchmarks/on_card.py mlp4 chain   some of them

A step is taken from calls of many, the best of five. PyTorch takes the same step op by op, and as one CUDA graph.
"""

import itertools
import sys
import time

import networks
import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.arrays import require_device
from tinygrad_lesson.errors import DeviceError

CARD = tl.gpu(0)
DENSE = {  # sizes, batch
    "mlp4": ((4, 10, 10, 10, 3), 20), "mnist-mlp": ((784, 1024, 1024, 10), 8192), "wide": ((4096, 8192, 8192, 4096), 4096),
}  # fmt: skip
LESSON = ("bn8", "res25", "res1000")
STEPS = {"wide": 10, "mnist-mlp": 50, "res1000": 50}
LONG = 10**8  # numbers of the chain


def dense(sizes):
    """The logits of layers of these sizes."""
    h = sym.Variable("data")
    for i, size in enumerate(sizes[1:]):
        h = sym.FullyConnected(sym.relu(h) if i else h, num_hidden=size, name=f"fc{i}")
    return h


def seconds(run, steps):
    """The best of five calls, each step of it; the first one is not timed."""
    run()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times) / steps


def ours(w, steps):
    """A step of training, and how it is carried out."""
    sizes, batch = DENSE.get(w, ((4, 3), 20))
    if w in DENSE:
        loss = -sym.mean(sym.log(sym.softmax(dense(sizes)) + 1e-8) * sym.Variable("label"))
        symbol = sym.MakeLoss(loss)
    else:
        symbol = networks.network(w)
    model = tl.FeedForward(symbol, CARD, 1, seed=0, optimizer="adam", initializer=tl.mx.init.Uniform(0.05))
    generator = np.random.default_rng(0)
    label = np.eye(sizes[-1], dtype=np.float32)[generator.integers(0, sizes[-1], (1, batch))]
    batches = {"data": generator.normal(size=(1, batch, sizes[0])).astype(np.float32), "label": label}
    executor = model.bind_training({name: x[0] for name, x in batches.items()})
    updater, monitor = model.start(executor)
    return seconds(lambda: executor.train(batches, steps, updater, monitor), steps), executor.runner(
        True
    ).name


def torchs(w, steps):
    """The same step by PyTorch: op by op, and as a CUDA graph; nothing where it is not here, or has no such network."""
    try:
        import torch
    except ImportError:
        return None
    if w not in DENSE or not torch.cuda.is_available():
        return None
    sizes, batch = DENSE[w]
    layers = [torch.nn.Linear(m, n) for m, n in itertools.pairwise(sizes)]
    net = torch.nn.Sequential(*[x for layer in layers for x in (layer, torch.nn.ReLU())][:-1]).cuda()
    optimizer = torch.optim.Adam(net.parameters(), capturable=True, fused=True)
    data, label = (
        torch.randn(batch, sizes[0], device="cuda"),
        torch.randint(sizes[-1], (batch,), device="cuda"),
    )

    def step():
        optimizer.zero_grad(set_to_none=False)
        torch.nn.functional.cross_entropy(net(data), label).backward()
        optimizer.step()

    def many(once):
        for _ in range(steps):
            once()
        torch.cuda.synchronize()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    eager, graph = seconds(lambda: many(step), steps), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return eager, seconds(lambda: many(graph.replay), steps)


def chain(size):
    """The bandwidth of a chain of operations by that of a copy."""
    with CARD:
        x = tl.ones(size).astype("float32")
    module, jitted = sys.modules["cupy"], tl.jit(lambda x: tl.tanh(x) * tl.exp(-x * x) + tl.log(1 + x * x))
    target = module.empty_like(x.array)

    def waited(work):
        work()
        module.cuda.runtime.deviceSynchronize()

    copy = seconds(lambda: waited(lambda: module.copyto(target, x.array)), 1)
    return copy / seconds(lambda: waited(lambda: jitted(x)), 1)


def main(wanted, size=LONG):
    """Print the rows."""
    try:
        require_device(CARD)
    except DeviceError as error:
        print(f"nothing is measured: {error}")
        return
    print(f"{'network':<12}{'way':<8}{'us a step':>12}{'PyTorch':>12}{'its graph':>12}")
    for w in (*DENSE, *LESSON):
        if not wanted or w in wanted:
            steps = STEPS.get(w, 1000)
            (took, way), others = ours(w, steps), torchs(w, steps)
            told = "".join(f"{1e6 * x:>12.1f}" for x in others or ())
            print(f"{w:<12}{way:<8}{1e6 * took:>12.1f}{told}", flush=True)
    if not wanted or "chain" in wanted:
        print(f"a chain over {size:.0e} numbers: {chain(size):.2f} of the bandwidth of a copy")


if __name__ == "__main__":
    main(sys.argv[1:])
