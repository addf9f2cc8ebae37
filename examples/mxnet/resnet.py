"""A residual network with batch normalization learns which half of an image is brighter, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/resnet.py     three seconds; prints the accuracy on images it has not seen
"""

import mxnet as mx
import numpy as np


def unit(data, filters, name):
    """Two convolutions beside the identity."""
    x = data
    for i in (1, 2):
        x = mx.sym.BatchNorm(x, fix_gamma=False, eps=2e-5, momentum=0.9, name=f"{name}_bn{i}")
        x = mx.sym.Activation(x, act_type="relu", name=f"{name}_relu{i}")
        x = mx.sym.Convolution(
            x, num_filter=filters, kernel=(3, 3), pad=(1, 1), no_bias=True, name=f"{name}_conv{i}"
        )
    return x + data


def resnet(units=3, filters=8):
    """A convolution, residual units, a mean over the image, two classes."""
    x = mx.sym.Convolution(
        mx.sym.Variable("data"), num_filter=filters, kernel=(3, 3), pad=(1, 1), no_bias=True, name="conv0"
    )
    for i in range(units):
        x = unit(x, filters, f"unit{i}")
    x = mx.sym.Activation(mx.sym.BatchNorm(x, fix_gamma=False, name="bn"), act_type="relu")
    x = mx.sym.Pooling(x, kernel=(4, 4), stride=(4, 4), pool_type="avg")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.flatten(x), num_hidden=2), name="softmax")


def images(count, seed):
    """Noise, 8 by 8; 1 if the right half is brighter."""
    rng = np.random.RandomState(seed)
    x, y = rng.normal(0, 1, (count, 1, 8, 8)), rng.randint(0, 2, count)
    x[y == 0, :, :, :4] += 0.7
    x[y == 1, :, :, 4:] += 0.7
    return x.astype("float32"), y.astype("float32")


mx.random.seed(0)
train, val = (mx.io.NDArrayIter(*images(n, seed), batch_size=25) for n, seed in ((200, 0), (100, 1)))
mod = mx.mod.Module(resnet(), context=mx.cpu())
mod.bind(data_shapes=train.provide_data, label_shapes=train.provide_label)
mod.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
schedule = mx.lr_scheduler.MultiFactorScheduler(step=[30], factor=0.1)
mod.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.01, "lr_scheduler": schedule})
metric = mx.metric.create("acc")
for _epoch in range(6):
    train.reset()
    metric.reset()
    for batch in train:
        mod.forward(batch, is_train=True)
        mod.update_metric(metric, batch.label)
        mod.backward()
        mod.update()
print("accuracy {:.2f}".format(mod.score(val, "acc")[0][1]))
