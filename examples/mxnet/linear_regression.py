"""Linear regression with arrays and `autograd` alone, as MXNet's tutorials begin, for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/linear_regression.py     one second; prints the coefficients
"""

import mxnet as mx
from mxnet import autograd, nd

mx.random.seed(1)
X = nd.random.normal(shape=(200, 2))
y = 2 * X[:, 0] - 3.4 * X[:, 1] + 4.2 + 0.01 * nd.random.normal(shape=(200,))
w, b = nd.random.normal(scale=0.01, shape=(2, 1)), nd.zeros(shape=(1,))
for param in (w, b):
    param.attach_grad()
for _epoch in range(30):
    for i in range(0, 200, 20):
        with autograd.record():
            loss = (nd.dot(X[i : i + 20], w) + b - y[i : i + 20].reshape((-1, 1))) ** 2 / 2
        loss.backward()
        for param in (w, b):
            param[:] = param - 0.1 * param.grad / 20
print([f"{value:.1f}" for value in (*w.asnumpy().ravel(), b.asscalar())])
