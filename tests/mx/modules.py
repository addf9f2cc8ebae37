"""Modules of MXNet at work: `tests/data/mx_modules.txt` is what MXNet 1.9.1 prints here."""

import logging
import os
import sys
import tempfile

import mxnet as mx
import numpy as np
from mxnet import nd

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
rng = np.random.RandomState(0)
X = rng.normal(size=(70, 4)).astype("f")
Y = (X[:, 0] * X[:, 1] > 0).astype("f")


def net():
    d = mx.sym.Variable("data")
    h = mx.sym.Activation(mx.sym.FullyConnected(d, num_hidden=8, name="fc1"), act_type="tanh")
    h = mx.sym.BatchNorm(h, name="bn", fix_gamma=False)
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(h, num_hidden=2, name="fc2"), name="softmax")


P = {
    n: mx.nd.array(rng.uniform(-0.5, 0.5, s))
    for n, s in {
        "fc1_weight": (8, 4),
        "fc1_bias": (8,),
        "bn_gamma": (8,),
        "bn_beta": (8,),
        "fc2_weight": (2, 8),
        "fc2_bias": (2,),
    }.items()
}
A = {"bn_moving_mean": nd.zeros(8), "bn_moving_var": nd.ones(8)}


def p(*a):
    print(
        *[
            x
            if isinstance(x, (str, int))
            else np.round(x.asnumpy() if hasattr(x, "asnumpy") else np.asarray(x), 5)
            for x in a
        ]
    )


for opt, par in (
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.01}),
    ("adam", {"learning_rate": 0.05}),
):
    it = mx.io.NDArrayIter(X, Y, batch_size=20)
    val = mx.io.NDArrayIter(X[:30], Y[:30], batch_size=20)
    m = mx.mod.Module(net(), context=mx.cpu())
    m.fit(
        it,
        eval_data=val,
        optimizer=opt,
        optimizer_params=par,
        arg_params=P,
        aux_params=A,
        num_epoch=3,
        eval_metric="acc",
    )
    a, x = m.get_params()
    p(sorted(a).__str__())
    [p(k, a[k]) for k in sorted(a)]
    [p(k, x[k]) for k in sorted(x)]
    p(str(m.score(val, "acc")), str(m.score(val, ["acc", "ce"])))
    y = m.predict(it)
    p(y.shape.__str__(), y[:2])
    p(str(m.output_shapes), str(m.data_names), str(m.label_names), str(m.output_names))
m = mx.mod.Module(net(), context=mx.cpu())
m.bind([("data", (10, 4))], [("softmax_label", (10,))], inputs_need_grad=True)
m.init_params(arg_params=P, aux_params=A)
m.init_optimizer(optimizer_params={"learning_rate": 0.1})
B = mx.io.DataBatch([nd.array(X[:10])], [nd.array(Y[:10])])
m.forward(B)
m.backward()
p("ig", m.get_input_grads()[0])
m.update()
p("w", m.get_params()[0]["fc1_bias"])
B = mx.io.DataBatch([nd.array(X[:6])], [nd.array(Y[:6])])
m.forward(B, is_train=False)
p("o", m.get_outputs()[0])
p(str(m.data_shapes[0].shape))
d = tempfile.mkdtemp()
m.save_checkpoint(d + "/m", 3, save_optimizer_states=True)
m2 = mx.mod.Module.load(d + "/m", 3, load_optimizer_states=True)
m2.bind([("data", (6, 4))], [("softmax_label", (6,))])
m2.init_optimizer()
m2.forward(B, is_train=False)
p("o2", m2.get_outputs()[0])
print(sorted(os.listdir(d)))
s1 = mx.sym.Activation(
    mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=5, name="fa"), act_type="relu"
)
s2 = mx.sym.SoftmaxOutput(
    mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fb"), name="softmax"
)
S = mx.mod.SequentialModule()
S.add(mx.mod.Module(s1, label_names=[])).add(mx.mod.Module(s2), take_labels=True, auto_wiring=True)
S.bind([("data", (10, 4))], [("softmax_label", (10,))])
W = {
    n: nd.array(rng.uniform(-0.5, 0.5, s))
    for n, s in {"fa_weight": (5, 4), "fa_bias": (5,), "fb_weight": (2, 5), "fb_bias": (2,)}.items()
}
S.init_params(arg_params=W, aux_params={}, allow_extra=True)
S.init_optimizer(optimizer_params={"learning_rate": 0.1})
B = mx.io.DataBatch([nd.array(X[:10])], [nd.array(Y[:10])])
S.forward(B)
S.backward()
S.update()
p("seq", S.get_params()[0]["fa_weight"])
S.forward(B)
p(S.get_outputs()[0])


def gen(n):
    x = mx.sym.Variable("data")
    w = mx.sym.Variable("w")
    h = mx.sym.Reshape(
        mx.sym.FullyConnected(mx.sym.Reshape(x, shape=(-1, 1)), w, num_hidden=3, no_bias=True, name="emb"),
        shape=(-1, n, 3),
    )
    h = mx.sym.sum(h, axis=1)
    return (
        mx.sym.SoftmaxOutput(mx.sym.FullyConnected(h, num_hidden=2, name="out"), name="softmax"),
        ("data",),
        ("softmax_label",),
    )


b = mx.mod.BucketingModule(gen, default_bucket_key=4)
b.bind([("data", (10, 4))], [("softmax_label", (10,))])
W = {
    n: nd.array(rng.uniform(-0.5, 0.5, s))
    for n, s in {"w": (3, 1), "out_weight": (2, 3), "out_bias": (2,)}.items()
}
b.init_params(arg_params=W, aux_params={})
b.init_optimizer(optimizer_params={"learning_rate": 0.1, "momentum": 0.9})
for k in (4, 2, 3, 4, 2):
    B = mx.io.DataBatch(
        [nd.array(X[:10, :k])],
        [nd.array(Y[:10])],
        bucket_key=k,
        provide_data=[("data", (10, k))],
        provide_label=[("softmax_label", (10,))],
    )
    b.forward(B)
    b.backward()
    b.update()
p("buck", *[b.get_params()[0][k] for k in sorted(W)])
p(b.get_outputs()[0])


class Mine(mx.optimizer.Optimizer):
    def __init__(self, alpha=0.5, **k):
        super().__init__(**k)
        self.alpha = alpha

    def create_state(self, index, weight):
        return nd.zeros(weight.shape)

    def update(self, index, weight, grad, state):
        self._update_count(index)
        lr = self._get_lr(index)
        wd = self._get_wd(index)
        state[:] = self.alpha * state + grad * self.rescale_grad
        weight[:] -= lr * (state + wd * weight)


mx.optimizer.register(Mine)
m = mx.mod.Module(net())
it.reset()
m.fit(
    it,
    optimizer="mine",
    optimizer_params={"learning_rate": 0.1, "alpha": 0.3, "wd": 0.1},
    arg_params=P,
    aux_params=A,
    num_epoch=2,
)
p("mine", m.get_params()[0]["fc1_weight"])
