"""An autoencoder, trained step by step with `autograd`, finds the one number behind eight, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/autoencoder.py     one second; prints how much of the variance is left
"""

import itertools

import mxnet as mx
from mxnet import autograd, nd

mx.random.seed(2)
hidden = nd.random.uniform(-1, 1, shape=(200, 1))
waves = nd.arange(1, 9).reshape((1, 8))
data = nd.sin(nd.dot(hidden, waves) * 0.5)

sizes = [8, 32, 1, 32, 8]
params = []
for before, after in itertools.pairwise(sizes):
    params += [nd.random.normal(scale=before**-0.5, shape=(after, before)), nd.zeros(after)]
for param in params:
    param.attach_grad()
trainer = mx.optimizer.get_updater(mx.optimizer.create("adam", learning_rate=0.01))


def network(x):
    """Four layers, the second with one unit."""
    for i in range(0, len(params), 2):
        x = nd.FullyConnected(x, params[i], params[i + 1], num_hidden=params[i].shape[0])
        x = nd.tanh(x) if i + 2 < len(params) else x
    return x


for _step in range(1000):
    with autograd.record():
        loss = nd.mean(nd.square(network(data) - data))
    loss.backward()
    for i, param in enumerate(params):
        trainer(i, param.grad, param)
variance = nd.mean(nd.square(data - nd.mean(data, axis=0, keepdims=True)))
print(f"variance left below a hundredth: {bool(loss.asscalar() / variance.asscalar() < 0.01)}")
