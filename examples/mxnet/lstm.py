"""An LSTM, unrolled for each length of sequence, finds the larger end, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/lstm.py     three seconds; prints the accuracy on sequences it has not seen
"""

from collections import namedtuple

import mxnet as mx
import numpy as np

HIDDEN = 12
State = namedtuple("State", ["c", "h"])
Weights = namedtuple("Weights", ["i2h_weight", "i2h_bias", "h2h_weight", "h2h_bias"])


def cell(x, state, weights, name):
    """One step: gates from the input and the hidden state."""
    i2h = mx.sym.FullyConnected(
        x, weights.i2h_weight, weights.i2h_bias, num_hidden=4 * HIDDEN, name=name + "_i2h"
    )
    h2h = mx.sym.FullyConnected(
        state.h, weights.h2h_weight, weights.h2h_bias, num_hidden=4 * HIDDEN, name=name + "_h2h"
    )
    gates = mx.sym.SliceChannel(i2h + h2h, num_outputs=4, name=name + "_slice")
    take, forget, out = (mx.sym.Activation(gates[i], act_type="sigmoid") for i in (0, 2, 3))
    c = forget * state.c + take * mx.sym.Activation(gates[1], act_type="tanh")
    return State(c, out * mx.sym.Activation(c, act_type="tanh"))


def sym_gen(length):
    """The network for sequences of this length."""
    weights = Weights(*[mx.sym.Variable("lstm_" + name) for name in Weights._fields])
    steps = mx.sym.SliceChannel(mx.sym.Variable("data"), num_outputs=length, axis=1, squeeze_axis=False)
    zeros = mx.sym.FullyConnected(steps[0] * 0, num_hidden=HIDDEN, no_bias=True, name="start")
    state = State(zeros, zeros)
    for t in range(length):
        state = cell(steps[t], state, weights, f"t{t}")
    output = mx.sym.FullyConnected(state.h, num_hidden=2, name="output")
    return mx.sym.SoftmaxOutput(output, name="softmax"), ("data",), ("softmax_label",)


def batches(count, seed, rows=20):
    """Sequences of 3 to 6 numbers; 1 if the last is larger than the first."""
    rng = np.random.RandomState(seed)
    for _ in range(count):
        length = rng.randint(3, 7)
        x = rng.uniform(-1, 1, (rows, length)).astype("float32")
        y = (x[:, -1] > x[:, 0]).astype("float32")
        yield mx.io.DataBatch(
            data=[mx.nd.array(x)],
            label=[mx.nd.array(y)],
            bucket_key=length,
            provide_data=[("data", x.shape)],
            provide_label=[("softmax_label", y.shape)],
        )


mx.random.seed(0)
mod = mx.mod.BucketingModule(sym_gen, default_bucket_key=6, context=mx.cpu())
mod.bind(data_shapes=[("data", (20, 6))], label_shapes=[("softmax_label", (20,))])
mod.init_params(mx.init.Xavier(factor_type="in", magnitude=2.34))
mod.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.02})
for batch in batches(300, 0):
    mod.forward(batch)
    mod.backward()
    mod.update()
metric = mx.metric.Accuracy()
for batch in batches(20, 1):
    mod.forward(batch, is_train=False)
    mod.update_metric(metric, batch.label)
print(f"accuracy {metric.get()[1]:.1f}")
