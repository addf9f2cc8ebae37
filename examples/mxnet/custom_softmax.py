"""A softmax of one's own, written in NumPy, as the loss of a network, for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/custom_softmax.py     one second; prints the accuracy
"""

import mxnet as mx
import numpy as np


class Softmax(mx.operator.CustomOp):
    """What the operator computes."""

    def forward(self, is_train, req, in_data, out_data, aux):
        x = in_data[0].asnumpy()
        y = np.exp(x - x.max(axis=1).reshape((x.shape[0], 1)))
        y /= y.sum(axis=1).reshape((x.shape[0], 1))
        self.assign(out_data[0], req[0], mx.nd.array(y))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        label = in_data[1].asnumpy().ravel().astype(np.int32)
        y = out_data[0].asnumpy()
        y[np.arange(label.shape[0]), label] -= 1.0
        self.assign(in_grad[0], req[0], mx.nd.array(y))


@mx.operator.register("softmax")
class SoftmaxProp(mx.operator.CustomOpProp):
    """What is known about it."""

    def __init__(self):
        super().__init__(need_top_grad=False)

    def list_arguments(self):
        return ["data", "label"]

    def list_outputs(self):
        return ["output"]

    def infer_shape(self, in_shape):
        return [in_shape[0], (in_shape[0][0],)], [in_shape[0]], []

    def infer_type(self, in_type):
        return in_type, [in_type[0]], []

    def create_operator(self, ctx, shapes, dtypes):
        return Softmax()


rng = np.random.RandomState(0)
x = rng.normal(size=(150, 4)).astype("float32")
y = x[:, :3].argmax(axis=1).astype("float32")
net = mx.symbol.FullyConnected(mx.symbol.Variable("data"), name="fc1", num_hidden=3)
net = mx.symbol.Custom(data=net, name="softmax", op_type="softmax")
mod = mx.mod.Module(net, context=mx.cpu())
mod.fit(
    mx.io.NDArrayIter(x, y, batch_size=30),
    num_epoch=40,
    optimizer_params={"learning_rate": 0.5, "momentum": 0.9},
)
print("accuracy {:.1f}".format(mod.score(mx.io.NDArrayIter(x, y, batch_size=30), "acc")[0][1]))
