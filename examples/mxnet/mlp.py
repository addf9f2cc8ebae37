"""A network with one hidden layer tells two rings of points apart, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/mlp.py     one second; prints the accuracy on points it has not seen
"""

import mxnet as mx
import numpy as np


def rings(rows, seed):
    """Points near two circles, and which one each belongs to."""
    rng = np.random.RandomState(seed)
    which = rng.randint(0, 2, rows)
    angle, radius = rng.uniform(0, 2 * np.pi, rows), 1 + which + rng.normal(0, 0.15, rows)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points.astype(np.float32), which.astype(np.float32)


def network():
    """Two inputs, sixteen hidden units, two classes."""
    hidden = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="fc1")
    hidden = mx.sym.Activation(hidden, act_type="tanh", name="tanh1")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(hidden, num_hidden=2, name="fc2"), name="softmax")


def main():
    """Train, and predict other points."""
    mx.random.seed(0)
    x, y = rings(200, seed=0)
    model = mx.model.FeedForward(
        network(),
        num_epoch=60,
        optimizer="adam",
        learning_rate=0.02,
        initializer=mx.init.Xavier(),
        lr_scheduler=mx.lr_scheduler.FactorScheduler(step=300, factor=0.5),
    )
    model.fit(mx.io.NDArrayIter(x, y, batch_size=20))
    x, y = rings(100, seed=1)
    accuracy = model.score(mx.io.NDArrayIter(x, y, batch_size=20), eval_metric="acc")
    print(f"accuracy {accuracy:.2f}")


if __name__ == "__main__":
    main()
