"""A narrow AlexNet tells rings from discs, by `FeedForward` and a checkpoint, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/alexnet.py     five seconds; prints the accuracy on images it has not seen
"""

import os
import tempfile

import mxnet as mx
import numpy as np


def shapes(count, seed):
    """Noisy images of three colours, 33 by 33, with a ring or a disc somewhere; 1 if it is a disc."""
    rng = np.random.RandomState(seed)
    x, y = rng.normal(0, 0.3, (count, 3, 33, 33)), rng.randint(0, 2, count)
    rows, columns = np.mgrid[:33, :33]
    for image, full in zip(x, y, strict=True):
        distance = np.hypot(*[grid - rng.randint(10, 23) for grid in (rows, columns)])
        image += (distance < 8) & (bool(full) | (distance > 5))
    return x.astype("float32"), y.astype("float32")


def get_symbol(num_classes):
    """Krizhevsky's network, an eighth as wide."""
    data = mx.symbol.Variable(name="data")
    conv1 = mx.symbol.Convolution(name="conv1", data=data, kernel=(5, 5), stride=(2, 2), num_filter=12)
    relu1 = mx.symbol.Activation(data=conv1, act_type="relu")
    lrn1 = mx.symbol.LRN(data=relu1, alpha=0.0001, beta=0.75, knorm=2, nsize=5)
    pool1 = mx.symbol.Pooling(data=lrn1, pool_type="max", kernel=(3, 3), stride=(2, 2))
    conv2 = mx.symbol.Convolution(
        name="conv2", data=pool1, kernel=(3, 3), pad=(1, 1), num_filter=32, num_group=2
    )
    relu2 = mx.symbol.Activation(data=conv2, act_type="relu")
    pool2 = mx.symbol.Pooling(data=relu2, kernel=(3, 3), stride=(2, 2), pool_type="max")
    conv3 = mx.symbol.Convolution(name="conv3", data=pool2, kernel=(3, 3), pad=(1, 1), num_filter=48)
    relu3 = mx.symbol.Activation(data=conv3, act_type="relu")
    flatten = mx.symbol.Flatten(data=relu3)
    fc1 = mx.symbol.FullyConnected(name="fc1", data=flatten, num_hidden=64)
    dropout1 = mx.symbol.Dropout(data=mx.symbol.Activation(data=fc1, act_type="relu"), p=0.5)
    fc2 = mx.symbol.FullyConnected(name="fc2", data=dropout1, num_hidden=num_classes)
    return mx.symbol.SoftmaxOutput(data=fc2, name="softmax")


mx.random.seed(3)
np.random.seed(3)
prefix = os.path.join(tempfile.mkdtemp(), "alexnet")
model = mx.model.FeedForward(
    ctx=mx.cpu(),
    symbol=get_symbol(2),
    num_epoch=8,
    optimizer="adam",
    learning_rate=0.002,
    initializer=mx.init.Xavier(),
)
model.fit(
    X=mx.io.NDArrayIter(*shapes(200, 0), batch_size=20), epoch_end_callback=mx.callback.do_checkpoint(prefix)
)
again = mx.model.FeedForward.load(prefix, 8)
accuracy = again.score(mx.io.NDArrayIter(*shapes(100, 1), batch_size=20))
print(f"accuracy {accuracy:.1f}")
