"""A small VGG finds the quarter of an image that is striped, and its features serve another task, for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/vgg.py     five seconds; prints the accuracy of both
"""

import mxnet as mx
import numpy as np


def stripes(count, seed):
    """Noise, 16 by 16, and which quarter is striped."""
    rng = np.random.RandomState(seed)
    x, y = rng.normal(0, 0.5, (count, 1, 16, 16)), rng.randint(0, 4, count)
    for image, quarter in zip(x[:, 0], y, strict=True):
        top, left = 8 * (quarter // 2), 8 * (quarter % 2)
        image[top : top + 8 : 2, left : left + 8] += 1.5
    return x.astype("float32"), y.astype("float32")


def get_feature(internal_layer, layers, filters):
    """Stacks of convolutions, 3 by 3, with pooling between them."""
    for i, num in enumerate(layers):
        for j in range(num):
            internal_layer = mx.sym.Convolution(
                data=internal_layer,
                kernel=(3, 3),
                pad=(1, 1),
                num_filter=filters[i],
                name=f"conv{i + 1}_{j + 1}",
            )
            internal_layer = mx.sym.Activation(
                data=internal_layer, act_type="relu", name=f"relu{i + 1}_{j + 1}"
            )
        internal_layer = mx.sym.Pooling(
            data=internal_layer, pool_type="max", kernel=(2, 2), stride=(2, 2), name=f"pool{i + 1}"
        )
    return internal_layer


def get_classifier(input_data, num_classes):
    """Two layers."""
    flatten = mx.sym.Flatten(data=input_data, name="flatten")
    fc6 = mx.sym.FullyConnected(data=flatten, num_hidden=32, name="fc6")
    relu6 = mx.sym.Activation(data=fc6, act_type="relu", name="relu6")
    fc7 = mx.sym.FullyConnected(data=relu6, num_hidden=num_classes, name=f"fc7_{num_classes}")
    return mx.sym.SoftmaxOutput(data=fc7, name="softmax")


def trained(symbol, images, labels, **settings):
    """A module after five epochs, and how good it is."""
    mod = mx.mod.Module(symbol, context=mx.cpu(), fixed_param_names=settings.pop("fixed", None))
    mod.fit(
        mx.io.NDArrayIter(images, labels, batch_size=25),
        num_epoch=5,
        optimizer="adam",
        optimizer_params=(("learning_rate", 0.004),),
        initializer=mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
        **settings,
    )
    return mod, mod.score(mx.io.NDArrayIter(images, labels, batch_size=25), "acc")[0][1]


mx.random.seed(0)
x, y = stripes(250, 0)
features = get_feature(mx.sym.Variable("data"), layers=(1, 2), filters=(8, 16))
mod, first = trained(get_classifier(features, 4), x, y)
arg_params, aux_params = mod.get_params()
arg_params = {name: value for name, value in arg_params.items() if name.startswith("conv")}
pooled = mod.symbol.get_internals()["pool2_output"]
again, second = trained(
    get_classifier(pooled, 2), x, (y < 2).astype("float32"),
    arg_params=arg_params, aux_params=aux_params, allow_missing=True, fixed=list(arg_params),
)  # fmt: skip
kept = all((again.get_params()[0][name] == arg_params[name]).asnumpy().all() for name in arg_params)
print(f"accuracy {first:.1f} and {second:.1f}; the features are kept: {kept}")
