"""Rules as strangers get them wrong: in ops of every kind, in functions and symbols, in CustomOps, at any scale.

Each case is (name, causes, f, inputs, order); where two causes say the same thing, both stand there.
"""

import inspect
import itertools

import numpy as np
from broken_more import value
from broken_rules import declared

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.op import Elementwise, Op, attr

STRANGE = []
GENERATOR = np.random.default_rng(5)
IMAGES = (2, 3, 2, 2)


def normal(*shape):
    return GENERATOR.normal(size=shape)


def positive(*shape, low=0.3, high=1.7):
    return GENERATOR.uniform(low, high, shape)


def enter(name, causes, f, *inputs, order=1):
    """Enter a function, op or symbol into the list."""
    STRANGE.append((name, causes.split("|"), f, inputs, order))


def made(name, forward, vjp, shape=None, **fields):
    """An op: elementwise, or with a rule of shapes; its inputs are those of `forward`."""
    names = ", ".join(list(inspect.signature(forward).parameters)[1:])
    call = eval(f"lambda self, xp, {names}: forward(xp, {names})", {"forward": forward})

    def rule(self, F, g, y, *inputs):
        found = vjp(F, g, y, *inputs)
        return found if isinstance(found, tuple) else (found,)

    rules = {"__doc__": f"{name}.", "__module__": __name__, "forward": call, "vjp": rule, **fields}
    if shape is not None:
        rules["shape"] = lambda self, *shapes: shape(*shapes)
    return declared(type(name, (Op if shape else Elementwise,), rules))()


def rule(name, causes, forward, vjp, *inputs, shape=None, order=1):
    """Enter an op made of these."""
    op = made(name, forward, vjp, shape)
    enter(name, causes, op, *inputs, order=order)
    return op


def attributed(causes, *inputs, **attributes):
    """Enter an op class with these attributes."""

    def take(cls):
        enter(cls.__name__, causes, declared(cls)(**attributes), *inputs)
        return cls

    return take


def like(*shapes):
    return shapes[0]


def scalar(*shapes):
    return ()


def applied(op, *inputs):
    return tl.Tensor.F.apply(op, inputs)


def soft(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Sign, factor: everywhere, in places, at every scale.

odd = rule("OddSquare", "sign", lambda xp, x: x * xp.abs(x), lambda F, g, y, x: g * 2 * x, normal(4, 5))
rule(
    "QuotientPlus",
    "sign",
    lambda xp, a, b: a / b,
    lambda F, g, y, a, b: (F.sum_like(g / b, a), F.sum_like(g * y / b, b)),
    positive(4, 3),
    positive(3),
)
rule(
    "LastSign",
    "sign",
    lambda xp, x: xp.exp(x),
    lambda F, g, y, x: g * y * np.where(np.arange(7) == 6, -1, 1),
    normal(7),
)
rule(
    "DiagonalSign",
    "sign",
    lambda xp, x: xp.exp(x),
    lambda F, g, y, x: g * y * (1 - 2 * np.eye(4)),
    normal(4, 4),
)
rule("ScalarSign", "sign", lambda xp, x: xp.exp(x), lambda F, g, y, x: -g * y, np.array(0.7))
for scale in (1e-6, 1e6):
    rule(f"Sign{scale}", "sign", lambda xp, x: x * x, lambda F, g, y, x: -2 * g * x, scale * positive(3, 3))
    rule(
        f"Factor{scale}",
        "factor",
        lambda xp, x: x * x * x,
        lambda F, g, y, x: 2 * g * x * x,
        scale * positive(4),
    )
rule("PerMille", "factor", lambda xp, x: xp.tanh(x), lambda F, g, y, x: 1.001 * g * (1 - y * y), normal(3, 4))
rule("PerMillion", "factor", lambda xp, x: xp.exp(x), lambda F, g, y, x: (1 + 1e-6) * g * y, normal(3, 4))
rule(
    "NormNotDivided",
    "factor",
    lambda xp, x: xp.sqrt(xp.sum(x * x)),
    lambda F, g, y, x: g * x,
    normal(5),
    shape=scalar,
)
rule(
    "VarianceBessel",
    "factor",
    lambda xp, x: x.var(0),
    lambda F, g, y, x: g * 2 * (x - F.mean(x, axis=0)) / 5,
    normal(6, 3),
    shape=lambda x: x[1:],
)
rule(
    "MeanSquareBatchOnly",
    "factor",
    lambda xp, p, t: xp.mean((p - t) ** 2),
    lambda F, g, y, p, t: (g * 2 * (p - t) / 4, -g * 2 * (p - t) / 4),
    normal(4, 3),
    normal(4, 3),
    shape=scalar,
)
rule(
    "RowsScaled",
    "factor",
    lambda xp, x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
    lambda F, g, y, x: g - F.mean(g, axis=-1, keepdims=True) - y * F.mean(g * y, axis=-1, keepdims=True),
    normal(4, 5),
    shape=like,
)
rule(
    "OneOfTwentyThousand",
    "factor",
    lambda xp, x: xp.tanh(x),
    lambda F, g, y, x: g * (1 - y * y) * np.where(np.arange(20_000) == 777, 2, 1),
    normal(20_000),
)
rule(
    "FastAtTiny",
    "factor",
    lambda xp, x: xp.sin(x * 1e8),
    lambda F, g, y, x: 2e8 * g * np.cos(value(x) * 1e8),
    1e-8 * normal(4),
)
rule(
    "MixedScales",
    "factor",
    lambda xp, x: x**2,
    lambda F, g, y, x: 2 * g * x * np.array([1, 1, 1.5, 1]),
    np.array([1e-6, 1.0, 1e-3, 1e6]),
)


@attributed("factor", normal(3, 4), power=3)
class PowerOfThree(Elementwise):
    """A power whose rule is right for squares."""

    power: int = attr(2, doc="the power")

    def forward(self, xp, x):
        return x**self.power

    def vjp(self, F, g, y, x):
        return (2 * g * x ** (self.power - 1),)


@attributed("factor", normal(2, 3), normal(4, 3), temperature=0.5)
class ScaledScores(Op):
    """Products of rows, divided; one rule of two forgets it."""

    temperature: float = attr(1.0, doc="the divisor")

    def shape(self, q, k):
        return q[0], k[0]

    def forward(self, xp, q, k):
        return q @ k.T / self.temperature

    def vjp(self, F, g, y, q, k):
        return F.matmul(g, k), F.matmul(F.transpose(g), q) / self.temperature


# Elements in the wrong order.

rule(
    "RollTwice",
    "transposed",
    lambda xp, x: np.roll(x, 1),
    lambda F, g, y, x: np.roll(g, 1),
    normal(6),
    shape=like,
)
rule(
    "CycleOfAxes",
    "transposed",
    lambda xp, x: x.transpose(1, 2, 0).copy(),
    lambda F, g, y, x: value(g).transpose(1, 2, 0),
    normal(3, 3, 3),
    shape=lambda x: (x[1], x[2], x[0]),
)
rule(
    "SortNotBack",
    "transposed",
    lambda xp, x: np.sort(x),
    lambda F, g, y, x: g,
    np.array([0.3, -1, 2, 0.9, -0.2]),
    shape=like,
)
flip = rule(
    "FlipNot", "transposed", lambda xp, x: x[::-1].copy(), lambda F, g, y, x: g, normal(5), shape=like
)
rule(
    "OuterTurned",
    "transposed",
    lambda xp, a, b: np.outer(a, b),
    lambda F, g, y, a, b: (value(g).T @ b, value(g).T @ a),
    normal(4),
    normal(4),
    shape=lambda a, b: a + b,
)
rule(
    "TilesInOrder",
    "transposed",
    lambda xp, x: x.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4).copy(),
    lambda F, g, y, x: value(g).reshape(4, 4),
    normal(4, 4),
    shape=like,
)
rule(
    "KernelNotFlipped",
    "transposed",
    lambda xp, x, k: np.correlate(x, k, "valid"),
    lambda F, g, y, x, k: (np.convolve(g, k[::-1]), np.correlate(x, g, "valid")),
    normal(7),
    normal(3),
    shape=lambda x, k: (x[0] - k[0] + 1,),
)
rule(
    "BatchProductTurned",
    "transposed",
    lambda xp, a, b: a @ b,
    lambda F, g, y, a, b: (F.matmul(g, b), F.matmul(F.swapaxes(a, 1, 2), g)),
    normal(2, 3, 3),
    normal(2, 3, 3),
    shape=like,
)
rule(
    "DeterminantTurned",
    "transposed",
    lambda xp, x: np.linalg.det(x),
    lambda F, g, y, x: g * y * np.linalg.inv(x),
    normal(3, 3),
    shape=scalar,
)


def attention(change):
    """The rule of attention with its gradients changed: `change(gradients, q, k, v, p, gp, gs, s, g)`."""

    def back(F, g, y, q, k, v):
        q, k, v, g = map(value, (q, k, v, g))
        s = np.sqrt(q.shape[1])
        p, gp = soft(q @ k.T / s), g @ v.T
        gs = p * (gp - (gp * p).sum(-1, keepdims=True)) / s
        return tuple(change([gs @ k, gs.T @ q, p.T @ g], k, p, gp, s, g))

    return back


for name, causes, change in (
    ("Scale", "factor", lambda d, k, p, gp, s, g: (d[0] * s, d[1], d[2])),
    ("ValueTurned", "transposed", lambda d, k, p, gp, s, g: (d[0], d[1], p @ g)),
    ("Diagonal", "missing term", lambda d, k, p, gp, s, g: (p * gp / s @ k, d[1], d[2])),
    ("Exchanged", "wrong input", lambda d, k, p, gp, s, g: (d[1], d[0], d[2])),
    ("Sign", "sign", lambda d, k, p, gp, s, g: (d[0], d[1], -d[2])),
    ("Nothing", "missing term", lambda d, k, p, gp, s, g: (d[0], None, d[2])),
):
    rule(
        f"Attention{name}",
        causes,
        lambda xp, q, k, v: soft(q @ k.T / np.sqrt(q.shape[1])) @ v,
        attention(change),
        *(normal(4, 4) for _ in range(3)),
        shape=like,
    )

# Sums over what was repeated.

first_copy = rule(
    "LastCopy",
    "broadcast sum",
    lambda xp, a, b: a * b,
    lambda F, g, y, a, b: (g * b, value(g * a)[-1]),
    normal(4, 3),
    positive(3),
)
rule(
    "ColumnLosesItsAxis",
    "broadcast sum",
    lambda xp, a, b: a * b,
    lambda F, g, y, a, b: (g * b, value(g * a).sum(1)),
    normal(4, 3),
    positive(4, 1),
)
for name, summed in (("NoBatch", lambda g: g[0].sum((1, 2))), ("NoPlaces", lambda g: g[:, :, 0, 0].sum(0))):
    rule(
        f"ChannelBias{name}",
        "broadcast sum",
        lambda xp, x, b: x + b.reshape(-1, 1, 1),
        lambda F, g, y, x, b, summed=summed: (g, summed(value(g))),
        normal(*IMAGES),
        normal(3),
        shape=like,
    )
rule(
    "ChannelScaleOtherAxis",
    "broadcast sum",
    lambda xp, x, w: x * w.reshape(1, -1, 1, 1),
    lambda F, g, y, x, w: (value(g) * w.reshape(1, -1, 1, 1), (value(g) * x).sum((1, 2, 3))),
    normal(3, 3, 2, 2),
    positive(3),
    shape=like,
)
rule(
    "SumTooMuch",
    "broadcast sum",
    lambda xp, a, b: a * b,
    lambda F, g, y, a, b: (g * b, np.broadcast_to(value(g * a).sum(0), (4, 3)).copy()),
    normal(4, 3),
    normal(4, 3),
)
rule(
    "RankLess",
    "broadcast sum",
    lambda xp, a, b: a + b,
    lambda F, g, y, a, b: (g, value(g).sum(0)[0]),
    normal(2, 3, 4),
    normal(4),
)
rule(
    "ScaleNotSummed",
    "broadcast sum",
    lambda xp, x, s: x * s,
    lambda F, g, y, x, s: (g * s, g * x),
    normal(3, 4),
    np.array(1.5),
    shape=like,
)
rule(
    "ThousandsOfCopies",
    "broadcast sum",
    lambda xp, a, b: a * b,
    lambda F, g, y, a, b: (g * b, value(g * a)[0]),
    normal(100, 80),
    normal(80),
)


@attributed("broadcast sum", normal(3, 4), keepdims=True)
class MeanKept(Op):
    """Mean of the rows, not spread where the axis is kept."""

    keepdims: bool = attr(False, doc="keep the axis")

    def shape(self, x):
        return (x[0], 1) if self.keepdims else x[:1]

    def forward(self, xp, x):
        return x.mean(1, keepdims=self.keepdims)

    def vjp(self, F, g, y, x):
        return (g / 4 if self.keepdims else F.broadcast_to(F.expand_dims(g / 4, 1), shape=F.shape(x)),)


# What belongs elsewhere.

rule(
    "LerpExchanged",
    "wrong input",
    lambda xp, a, b: 0.3 * a + 0.7 * b,
    lambda F, g, y, a, b: (0.7 * g, 0.3 * g),
    normal(3, 4),
    normal(3, 4),
)
rule(
    "HypotenuseExchanged",
    "wrong input",
    lambda xp, a, b: xp.sqrt(a * a + b * b),
    lambda F, g, y, a, b: (g * b / y, g * a / y),
    normal(3, 4),
    normal(3, 4),
)
rule(
    "GateOfItself",
    "wrong input",
    lambda xp, a, b: a * xp.tanh(b),
    lambda F, g, y, a, b: (g * F.tanh(a), g * a * (1 - F.square(F.tanh(b)))),
    normal(3, 4),
    normal(3, 4),
)
rule(
    "ProductOtherOperand",
    "wrong input",
    lambda xp, a, b: a @ b,
    lambda F, g, y, a, b: (F.matmul(g, F.transpose(a)), F.matmul(F.transpose(a), g)),
    normal(3, 3),
    normal(3, 3),
    shape=like,
)
rule(
    "SoftmaxByInput",
    "wrong input",
    lambda xp, x: soft(x),
    lambda F, g, y, x: x * (g - F.sum(g * x, axis=-1, keepdims=True)),
    normal(3, 4),
    shape=like,
)
rule(
    "ScalarsExchanged",
    "wrong input",
    lambda xp, a, b: a * b,
    lambda F, g, y, a, b: (g * a, g * b),
    np.array(1.5),
    np.array(0.3),
)

# Uses that are not counted.

ROWS = np.array([2, 0, 2, 1, 2])


def last(g, places, size):
    """`g` put into its places one after another: the last wins."""
    whole = np.zeros((size, *np.shape(g)[1:]))
    whole[places] = g
    return whole


embedding = rule(
    "EmbeddingLast",
    "accumulation",
    lambda xp, t, i: t[i],
    lambda F, g, y, t, i: (last(value(g), value(i), 4), None),
    normal(4, 3),
    ROWS,
    shape=lambda t, i: (i[0], t[1]),
)
rule(
    "GatherOfSquares",
    "accumulation",
    lambda xp, x: x[[0, 1, 1, 0]] ** 2,
    lambda F, g, y, x: last(2 * value(x)[[0, 1, 1, 0]] * g, [0, 1, 1, 0], 3),
    normal(3),
    shape=lambda x: (4,),
)
rule("Symmetrized", "accumulation", lambda xp, x: x + x.T, lambda F, g, y, x: g, normal(3, 3), shape=like)
rule(
    "MirroredEdge",
    "accumulation",
    lambda xp, x: np.pad(x, 2, mode="reflect"),
    lambda F, g, y, x: value(g)[2:-2],
    normal(5),
    shape=lambda x: (x[0] + 4,),
)
rule(
    "Unfolded",
    "accumulation",
    lambda xp, x: np.stack([x[k : k + 3] for k in range(4)]),
    lambda F, g, y, x: last(value(g).ravel(), [k + j for k in range(4) for j in range(3)], 6),
    normal(6),
    shape=lambda x: (4, 3),
)
rule("RunningSum", "accumulation", lambda xp, x: np.cumsum(x), lambda F, g, y, x: g, normal(5), shape=like)

# Terms left out.

rule(
    "EntropyOne", "missing term", lambda xp, x: x * xp.log(x), lambda F, g, y, x: g * F.log(x), positive(3, 4)
)
rule(
    "UnitVector",
    "missing term",
    lambda xp, x: x / xp.sqrt((x * x).sum()),
    lambda F, g, y, x: g / F.sqrt(F.sum(x * x)),
    normal(5),
    shape=like,
)
rule(
    "CentredWithoutMean",
    "missing term",
    lambda xp, x: x - x.mean(0),
    lambda F, g, y, x: g,
    normal(4, 3),
    shape=like,
)
rule("Tiny", "missing term", lambda xp, x: xp.exp(x), lambda F, g, y, x: g * y + 1e-8 * g, normal(3, 4))
rule(
    "CornerNothing",
    "missing term",
    lambda xp, x: xp.exp(x),
    lambda F, g, y, x: g * y * (np.arange(12).reshape(3, 4) > 0),
    normal(3, 4),
)
rule(
    "EndsOfDifferences",
    "missing term",
    lambda xp, x: np.diff(x),
    lambda F, g, y, x: np.concatenate([[0], g]) - np.concatenate([[0], value(g)[1:], [0]]),
    normal(5),
    shape=lambda x: (x[0] - 1,),
)
rule("StraightThrough", "missing term", lambda xp, x: xp.round(x), lambda F, g, y, x: g, normal(6))
rule(
    "CrossEntropyNoTarget",
    "missing term",
    lambda xp, z, t: -np.mean(np.log(soft(z))[np.arange(4), t]),
    lambda F, g, y, z, t: (g * soft(value(z)) / 4, None),
    normal(4, 5),
    np.array([0, 2, 1, 4]),
    shape=scalar,
)

# The second order alone.

rule(
    "CubeStopped",
    "accumulation|missing term",
    lambda xp, x: x * x * x,
    lambda F, g, y, x: g * 3 * x * F.stop_gradient(x),
    normal(3, 4),
    order=2,
)
rule(
    "CotangentStopped",
    "missing term",
    lambda xp, x: xp.exp(x),
    lambda F, g, y, x: F.stop_gradient(g) * y,
    normal(3, 4),
    order=2,
)
slope_of_tanh = made(
    "SlopeOfTanh", lambda xp, x: 1 - xp.tanh(x) ** 2, lambda F, g, y, x: 2 * g * y * F.tanh(x)
)
product = made("OtherProduct", lambda xp, a, b: a * b, lambda F, g, y, a, b: (g * a, g * b))
tanh = rule(
    "TanhTwice",
    "sign",
    lambda xp, x: xp.tanh(x),
    lambda F, g, y, x: g * F.apply(slope_of_tanh, (x,)),
    normal(3, 4),
    order=2,
)
rule(
    "ProductTwice",
    "wrong input",
    lambda xp, a, b: a * b,
    lambda F, g, y, a, b: (F.apply(product, (g, b)), F.apply(product, (g, a))),
    normal(3, 4),
    normal(3, 4),
    order=2,
)

# Kinks and jumps.

rule("SignAtZero", "discontinuity", lambda xp, x: xp.sign(x) + x, lambda F, g, y, x: g, np.array([0.0, 1.0]))
rule(
    "HuberJump",
    "discontinuity",
    lambda xp, x: xp.where(xp.abs(x) <= 1, 0.5 * x * x, xp.abs(x)),
    lambda F, g, y, x: g * F.clip(x, -1, 1),
    np.array([0.3, 1.0]),
)
rule(
    "SortTie",
    "kink",
    lambda xp, x: np.sort(x),
    lambda F, g, y, x: value(g)[np.argsort(np.argsort(value(x)))],
    np.array([0.3, 1.0, 1.0]),
    shape=like,
)
enter("PoolTie", "kink", lambda x: tl.pooling(x, kernel=(2, 2), stride=(2, 2)), np.ones((1, 1, 2, 2)))
enter("ReluOfCentred", "kink", lambda x: tl.sum(tl.relu(x - tl.mean(x))), np.array([1.0, 2.0, 3.0]))

# Rounding.

rule(
    "ForwardThroughSingle",
    "float noise",
    lambda xp, x: xp.exp(x.astype(np.float32)).astype(x.dtype),
    lambda F, g, y, x: g * y,
    normal(3, 4),
)
rule("SixDigits", "float noise", lambda xp, x: xp.round(xp.exp(x), 6), lambda F, g, y, x: g * y, normal(3, 4))
rule(
    "CancelsNearZero",
    "float noise",
    lambda xp, x: (1 - xp.cos(x)) / (x * x),
    lambda F, g, y, x: g * (-x / 12),
    1e-7 * positive(3),
)
rule(
    "FarOffset",
    "float noise",
    lambda xp, x: xp.exp(x) + 1e13 - 1e13,
    lambda F, g, y, x: g * np.exp(value(x)),
    normal(3),
)
rule(
    "RuleThroughSingleInside",
    "float noise",
    lambda xp, x: xp.tanh(x),
    lambda F, g, y, x: g * (1 - np.tanh(value(x).astype(np.float32)).astype(float) ** 2),
    normal(3, 4),
)
rule(
    "SingleEpsilon",
    "float noise",
    lambda xp, x: xp.log(x),
    lambda F, g, y, x: g / (x + (1e-3 if value(x).dtype == np.float32 else 0)),
    positive(3, 4),
)

# Chance.

COUNT = itertools.count()


def third_time(xp, x):
    return x * (1 + (1e-12 if next(COUNT) % 3 == 0 else 0))


rule("EveryThirdTime", "non-deterministic", third_time, lambda F, g, y, x: g, normal(3))
rule(
    "OwnDropout",
    "non-deterministic",
    lambda xp, x: x * (np.random.default_rng().uniform(size=x.shape) < 0.5),
    lambda F, g, y, x: g * 0.5,
    normal(30),
)
rule(
    "RuleCounts",
    "non-deterministic",
    lambda xp, x: x * 1.0,
    lambda F, g, y, x: g * (1 + 1e-9 * (next(COUNT) % 5)),
    normal(4),
)

# Writing.


def clamped(xp, x):
    return np.maximum(x, 0, out=x)


def masks(F, g, y, x):
    g *= value(x) > 0
    return g


def clears(F, g, y, t, i):
    gradient = np.eye(4)[value(i)].T @ g
    i[...] = 0
    return gradient, None


relu_in_place = rule("ReluInPlace", "in place", clamped, lambda F, g, y, x: g * (value(y) > 0), normal(3, 4))
masking = rule("MasksCotangent", "in place", lambda xp, x: xp.maximum(x, 0), masks, normal(3, 4))
rule(
    "ClearsItsIndex",
    "in place",
    lambda xp, t, i: t[i],
    clears,
    normal(4, 3),
    np.array([3, 0, 1]),
    shape=lambda t, i: (i[0], t[1]),
)
enter("MaskingInside", "in place", lambda x: tl.sum(tl.exp(applied(masking, x))), normal(3, 4))
enter(
    "WritingInside",
    "in place",
    lambda x: tl.sum(tl.exp(applied(relu_in_place, tl.exp(x) - 1.0))),
    normal(3, 4),
)


def takes_absolute_values(x):
    x.value[...] = np.abs(x.value)
    return tl.sum(x * x)


enter("WritesItsValue", "in place", takes_absolute_values, np.array([1.0, -2.0, 3.0]))

# Several results.


class TwoResults(Op):
    """An exponential and a hyperbolic tangent."""

    outputs = ("exp", "tanh")

    def shape(self, x):
        return x, x

    def forward(self, xp, x):
        return xp.exp(x), xp.tanh(x)


@attributed("missing term", normal(3, 4))
class SecondForgotten(TwoResults):
    """Only the first comes back."""

    def vjp(self, F, g, y, x):
        return (g[0] * y[0],)


@attributed("factor", normal(3, 4))
class SecondDoubled(TwoResults):
    """The second comes back twice."""

    def vjp(self, F, g, y, x):
        return (g[0] * y[0] + 2 * g[1] * (1 - y[1] * y[1]),)


@attributed("transposed|wrong input", normal(3, 4))
class ResultsExchanged(TwoResults):
    """Each comes back through the other."""

    def vjp(self, F, g, y, x):
        return (g[1] * y[0] + g[0] * (1 - y[1] * y[1]),)


# Functions and symbols around them.

enter("OddInside", "sign", lambda x: tl.tanh(tl.exp(applied(odd, tl.tanh(x)))), normal(4, 5))
enter("EmbeddingInside", "accumulation", lambda t: tl.sum(tl.tanh(applied(embedding, t, ROWS))), normal(4, 3))
enter(
    "BiasInside",
    "broadcast sum",
    lambda x, b: tl.sum(tl.square(applied(first_copy, x, b))),
    normal(4, 3),
    normal(3),
)
enter("FlipInside", "transposed", lambda x: tl.sum(applied(flip, x * x) * np.arange(5.0)), normal(5))
enter("TwiceInside", "sign", lambda x: tl.sum(applied(tanh, x) * x), normal(4), order=2)
enter("NumberOutside", "accumulation", lambda x: tl.sum(x * float(x.numpy().max())), normal(4))
enter(
    "ChanceInside",
    "non-deterministic",
    lambda x: tl.sum(x * np.random.default_rng().normal(size=3)),
    normal(3),
)

# CustomOps.


def custom(name, causes, forward, backward, *inputs, arguments=("data",), shape=like):
    """Enter a CustomOp, as a symbol and eagerly; `backward(g, y, *inputs)` gives a list of gradients."""

    class Operator(tl.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], forward(*map(np.asarray, in_data)))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            for i, gradient in enumerate(backward(out_grad[0], out_data[0], *in_data)):
                self.assign(in_grad[i], req[i], gradient)

    @tl.operator.register(f"strange_{name}")
    class Properties(tl.operator.CustomOpProp):
        def __init__(self):
            super().__init__(need_top_grad=True)

        def list_arguments(self):
            return list(arguments)

        def infer_shape(self, in_shape):
            return in_shape, [shape(*in_shape)], []

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Operator()

    symbol = sym.Custom(*map(sym.Variable, arguments), op_type=f"strange_{name}", name=name)
    enter(f"symbol_{name}", causes, symbol, *inputs)
    enter(f"eager_{name}", causes, lambda *x: tl.custom(*x, op_type=f"strange_{name}"), *inputs)


def doubles(g, y, x):
    g[...] *= 2
    return [g * x]


custom("sign", "sign", np.tanh, lambda g, y, x: [-g * (1 - y * y)], normal(3, 4))
custom("half", "factor", lambda x: x**2, lambda g, y, x: [g * x], normal(3, 4))
custom(
    "turned", "transposed", lambda x: x.T.copy(), lambda g, y, x: [g], normal(3, 3), shape=lambda s: s[::-1]
)
custom(
    "last",
    "accumulation",
    lambda x: x[[0, 1, 1, 0]],
    lambda g, y, x: [last(g, [0, 1, 1, 0], 3)],
    normal(3),
    shape=lambda s: [4],
)
custom(
    "swapped",
    "wrong input",
    lambda a, b: a * b,
    lambda g, y, a, b: [g * a, g * b],
    normal(3, 4),
    normal(3, 4),
    arguments=("a", "b"),
)
custom(
    "bias",
    "broadcast sum",
    lambda x, b: x + b,
    lambda g, y, x, b: [g, g[0]],
    normal(5, 3),
    normal(3),
    arguments=("data", "bias"),
)
custom("writes", "in place", lambda x: x**2, doubles, normal(3, 4))
custom(
    "chance",
    "non-deterministic",
    lambda x: x + np.random.default_rng().normal(size=x.shape),
    lambda g, y, x: [g],
    normal(3, 4),
)
