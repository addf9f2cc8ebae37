"""Functions whose gradients are right, but hard to check by differences: none may be called wrong.

`SMOOTH` holds those that have a derivative where they are checked, by kind and name, as (f, *inputs); `OPEN` those that
have none there, or none that differences can tell.
"""

import numpy as np

import tinygrad_lesson as tl

NORMAL = np.random.default_rng(2).normal(size=(4, 5))
POINTS = np.random.default_rng(11).uniform(-2, 2, 12)
SOME = POINTS[:6]


def layer_norm(x):
    d = x - tl.mean(x, axis=-1, keepdims=True)
    return d / tl.sqrt(tl.mean(d * d, axis=-1, keepdims=True) + 1e-5)


def attention(q, k, v):
    return tl.matmul(tl.softmax(tl.matmul(q, tl.transpose(k)) / np.sqrt(q.shape[1])), v)


def cosine(a, b):
    return tl.sum(a * b) / tl.sqrt(tl.sum(a * a) * tl.sum(b * b))


def logistic(steps, rate):
    """The logistic map, so many times."""

    def f(x):
        for _ in range(steps):
            x = rate * x * (1 - x)
        return x

    return f


def wave(k):
    return lambda x: tl.sin(2.0**k * np.pi * x) + tl.cos(2.0**k * np.pi * x)


def scaled(scale):
    """Functions at numbers of this size."""
    x = NORMAL[0] * scale
    found = {
        "square": lambda x: x * x,
        "tanh": lambda x: tl.tanh(x / scale),
        "softmax": lambda x: tl.softmax(x / scale),
        "power": lambda x: tl.sqrt(tl.abs(x)) * x,
        "variance": tl.var,
        "logarithm": lambda x: tl.log(x * x + scale**2),
        "sigmoid": lambda x: tl.sum(x) * tl.sigmoid(x),
    }
    return {f"{name}_{scale:g}": (f, x) for name, f in found.items()}


LAYERS = {
    "layer_norm": (layer_norm, NORMAL),
    "attention": (attention, NORMAL, NORMAL[:3] * 2, NORMAL[1:, :2]),
    "cosine": (cosine, NORMAL[0], NORMAL[1]),
    "logistic": (logistic(8, 3.7), np.array([0.2, 0.55, 0.71])),
    "gelu": (lambda x: 0.5 * x * (1 + tl.tanh(0.8 * (x + 0.0447 * x**3))), NORMAL),
    "huber": (lambda x: tl.where(tl.abs(x) < 1.0, 0.5 * x * x, tl.abs(x) - 0.5), NORMAL * 2),
    "cross_entropy": (lambda z: -tl.mean(tl.log_softmax(z) * np.eye(5)[[0, 2, 1, 4]]), NORMAL * 3),
    "product_of_many": (lambda x: tl.prod(x), np.linspace(0.5, 1.6, 12)),
    "integers_beside": (lambda x, n: x * x * n, NORMAL[0], np.arange(5)),
    "nothing_depends_on_it": (lambda x, y: tl.sum(x * x), NORMAL[0], NORMAL[1]),
    "constant": (lambda x: tl.sum(tl.sign(x)) + 0.0 * tl.sum(x), NORMAL[0]),
    "empty_beside": (lambda x, y: tl.sum(x) + tl.sum(y * y), np.zeros((0, 3)), NORMAL[0]),
    "one_number": (lambda x: tl.tanh(x) * x, np.array(0.4)),
    "single": (layer_norm, NORMAL.astype(np.float32)),
}
STEEP = {
    "log_sum_exp_far_out": (lambda x: tl.logsumexp(x), NORMAL[0] * 700),
    "variance_far_from_0": (lambda x: tl.var(x, axis=0), NORMAL + 1000),
    "gradient_zero": (lambda x: x**3, np.array([0.0, 1e-9, 1.0])),
    "saturated": (lambda x: tl.tanh(x * 20), NORMAL[0]),
    "saturated_sigmoid": (tl.sigmoid, NORMAL[1] * 100),
    "steep": (lambda x: tl.sigmoid(1e4 * (x - 0.5)), np.array([0.5, 0.5001, 0.4])),
    "flat": (lambda x: tl.exp(-1 / (x * x)), np.array([0.05, 0.1, 0.3])),
    "cancelling": (lambda x: (x + 1e5) ** 2 - 1e10, NORMAL[0]),
    "small_difference": (lambda x: tl.sqrt(x + 1) - tl.sqrt(x), np.array([1e3, 1e4])),
    "near_ties": (lambda x: tl.max(x), np.array([0.0, 1e-4, 3e-4, 2e-4])),
    "fast": (lambda x: tl.tanh(x * 1e8) * tl.exp(x * 3e7), NORMAL[0] * 1e-8),
    "near_a_pole": (lambda a, b: a / b, NORMAL[0], np.linspace(0.4, 1.6, 5) * 1e-8),
    "near_a_cone": (lambda x: tl.sqrt(tl.sum(x * x)), NORMAL[0] * 1e-8),
}
MINIMA = {  # the slope is 0, and all is curvature
    "variance of equal numbers": (tl.var, np.ones(5)),
    "cosine of a vector with itself": (cosine, SOME, SOME),
    "divergence of what is uniform": (
        lambda x: tl.sum(tl.softmax(x) * (tl.log_softmax(x) - tl.log_softmax(x * 0))),
        1e-9 * SOME,
    ),
    "fourth power at its root": (lambda x: tl.sum((x - 2.0) ** 4), np.full(6, 2.0)),
    "squared hinge at its edge": (
        lambda x: tl.sum(tl.maximum(1 - x, 0.0) ** 2),
        np.array([1.0, 0.5, 2, 1, 1]),
    ),
}
WAVES = {
    "wave under a sum": (lambda x: tl.sum(tl.sin(2.0**9 * np.pi * x) * x), POINTS),
    "wave over a step": (lambda x: tl.tanh(x) + 0.1 * tl.cos(1024 * np.pi * x), POINTS),
    "wave in an exponent": (lambda x: tl.exp(tl.sin(256 * np.pi * x)), POINTS),
    "wave in a wave": (lambda x: tl.sin(300 * x) * tl.sin(512 * np.pi * x), POINTS),
    "chirp": (lambda x: tl.sin(2.0**12 * x * x), POINTS),
    "pole in a wave": (lambda x: tl.sin(100 / (x * x + 0.05)), POINTS),
    **{f"position {k}": (wave(k), POINTS) for k in range(10)},
}
INSIDE = {  # a kink in an inner op, and none of the function
    f"{name} at {len(x)}": (f, np.array(x))
    for x in ([0.0], [0.0, 1.0, -1.0])
    for name, f in {
        "relu squared": lambda x: tl.relu(x) ** 2,
        "relu times relu": lambda x: tl.relu(x) * tl.relu(x),
        "abs times x": lambda x: tl.abs(x) * x,
        "sum of squares of abs": lambda x: tl.sum(tl.abs(x) ** 2),
        "relu cubed": lambda x: tl.relu(x) ** 3 + x,
        "abs times relu": lambda x: tl.abs(x) * tl.relu(x),
    }.items()
}
SIZES = {name: case for scale in (1e-8, 1e-4, 1e4, 1e8) for name, case in scaled(scale).items()}
SMOOTH = {
    "layers and losses": LAYERS,
    "steep, flat, cancelling": STEEP,
    "at a minimum": MINIMA,
    "fast waves": WAVES,
    "a kink inside": INSIDE,
    "tiny and huge numbers": SIZES,
}
TWICE = (
    "layers and losses",
    "steep, flat, cancelling",
    "fast waves",
)  # these have a second derivative there too

KINKED = {  # a function, and where its kink is
    "relu": (tl.relu, 0.0),
    "abs": (tl.abs, 0.0),
    "leaky": (tl.leaky_relu, 0.0),
    "clip": (lambda x: tl.clip(x, low=-1.0, high=0.5), 0.5),
    "maximum": (lambda x: tl.maximum(x, 0.7), 0.7),
    "steep": (lambda x: tl.sqrt(tl.abs(x) + 1e-3), 0.0),
    "far": (lambda x: tl.relu(x - 1000.0), 1000.0),
    "hinge": (lambda x: tl.mean(tl.relu(1.0 - x)), 1.0),
    "jump": (lambda x: tl.where(x > 0.3, x + 1.0, x), 0.3),
    "through": (lambda x: tl.tanh(tl.relu(x * 3.0) - x * 0.2), 0.0),
}
TIES = {
    "sort": (lambda x: tl.sort(x), np.array([0.0, 0.0, 0.0, -0.5])),
    "weighed sort": (lambda x: tl.sum(tl.sort(x) * np.arange(4.0)), np.array([1.0, 1.0, 1.0, 0.5])),
    "max": (lambda x: tl.max(x, axis=0), np.array([[1.0, 2.0], [1.0, 0.5]])),
    "squares": (lambda x: tl.sum(tl.sort(x) ** 2 * np.arange(1.0, 4.0)), np.array([2.0, 2.0, 2.0])),
    "middle": (lambda x: tl.sort(x)[1], np.array([0.3, 0.3, 0.3])),
}
CHAOS = {
    "80 steps": (logistic(80, 3.9), np.array([0.3, 0.6, 0.1, 0.77])),
    "200 steps": (logistic(200, 3.99), np.array([0.21, 0.6])),
    "120 steps": (logistic(120, 4.0), np.array([0.123, 0.456, 0.9])),
    "beyond all digits": (lambda x: tl.sin(x * 1e25), np.array([0.3, 0.6])),
    "beside x": (lambda x: logistic(70, 3.95)(x) * 5.0 + x, np.array([0.3, 0.4])),
    "exponent": (lambda x: tl.sin(tl.exp(60.0 * x)), np.array([0.9, 1.0])),
}
OPEN = {
    "at a kink": {name: (f, np.array([0.2, kink])) for name, (f, kink) in KINKED.items()},
    "equal numbers": TIES,
    "chaos": CHAOS,
}
