"""A LeNet tells bars that lie from bars that stand, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/lenet.py     two seconds; prints the accuracy on images it has not seen
"""

import mxnet as mx
import numpy as np


def bars(count, seed):
    """Noisy images, 12 by 12, with a bar somewhere; 1 if it stands."""
    rng = np.random.RandomState(seed)
    images, which = rng.normal(0, 0.3, (count, 1, 12, 12)), rng.randint(0, 2, count)
    for image, stands in zip(images, which, strict=False):
        place = rng.randint(2, 10)
        image[0][(slice(2, 10), place) if stands else (place, slice(2, 10))] += 1
    return images.astype(np.float32), which.astype(np.float32)


def lenet():
    """Two convolutions with pooling, two layers."""
    x = mx.sym.Variable("data")
    for i, filters in enumerate((8, 16)):
        x = mx.sym.Convolution(x, kernel=(3, 3), num_filter=filters, name=f"conv{i}")
        x = mx.sym.Activation(x, act_type="tanh")
        x = mx.sym.Pooling(x, pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=32, name="fc1")
    x = mx.sym.FullyConnected(mx.sym.Activation(x, act_type="tanh"), num_hidden=2, name="fc2")
    return mx.sym.SoftmaxOutput(x, name="softmax")


mx.random.seed(1)
np.random.seed(1)
train_iter = mx.io.NDArrayIter(*bars(200, 0), batch_size=20, shuffle=True)
val_iter = mx.io.NDArrayIter(*bars(100, 1), batch_size=20)
model = mx.mod.Module(symbol=lenet(), context=mx.cpu())
model.fit(
    train_iter,
    eval_data=val_iter,
    optimizer="sgd",
    optimizer_params={"learning_rate": 0.1, "momentum": 0.9},
    initializer=mx.init.Xavier(),
    eval_metric="acc",
    batch_end_callback=mx.callback.Speedometer(20, 5),
    num_epoch=8,
)
metric = mx.metric.Accuracy()
model.score(val_iter, metric)
print(f"accuracy {metric.get()[1]:.2f}")
