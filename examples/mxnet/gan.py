"""Two modules against each other: one makes points, the other tells them from points of a ring, for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/gan.py     four seconds; prints whether the points came to lie at the ring
"""

import mxnet as mx
import numpy as np

BATCH, NOISE = 64, 4


def perceptron(x, sizes, name):
    """Layers with LeakyReLU between them."""
    for i, size in enumerate(sizes):
        x = mx.sym.FullyConnected(x, num_hidden=size, name=f"{name}{i}")
        x = mx.sym.LeakyReLU(x, act_type="leaky", slope=0.2) if i + 1 < len(sizes) else x
    return x


def bound(symbol, data, label=None):
    """A module with parameters and optimizer that gives gradients for its data."""
    names = {"label_names": ["label"]} if label else {"label_names": None}
    mod = mx.mod.Module(symbol, data_names=[data[0]], context=mx.cpu(), **names)
    mod.bind(data_shapes=[data], label_shapes=[label] if label else None, inputs_need_grad=True)
    mod.init_params(mx.init.Xavier())
    mod.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.002, "beta1": 0.5})
    return mod


def ring(rng):
    """Points at distance 1."""
    angle = rng.uniform(0, 2 * np.pi, BATCH)
    return mx.nd.array(np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.05, (BATCH, 2)))


mx.random.seed(1)
rng = np.random.RandomState(0)
generator = bound(perceptron(mx.sym.Variable("rand"), [32, 32, 2], "g"), ("rand", (BATCH, NOISE)))
judge = perceptron(mx.sym.Variable("data"), [32, 32, 1], "d")
judge = mx.sym.LogisticRegressionOutput(judge, mx.sym.Variable("label"), name="judge")
discriminator = bound(judge, ("data", (BATCH, 2)), ("label", (BATCH, 1)))
ones, zeros = mx.nd.ones((BATCH, 1)), mx.nd.zeros((BATCH, 1))
for _step in range(1500):
    noise = mx.nd.random.normal(0, 1, shape=(BATCH, NOISE))
    generator.forward(mx.io.DataBatch([noise], None), is_train=True)
    made = generator.get_outputs()
    for points, label in ((made, zeros), ([ring(rng)], ones)):
        discriminator.forward(mx.io.DataBatch(points, [label]), is_train=True)
        discriminator.backward()
        discriminator.update()
    discriminator.forward(mx.io.DataBatch(made, [ones]), is_train=True)
    discriminator.backward()
    generator.backward(discriminator.get_input_grads())
    generator.update()
distance = np.linalg.norm(generator.get_outputs()[0].asnumpy(), axis=1)
print("at the ring: %s" % (0.8 < np.mean(distance) < 1.2))
