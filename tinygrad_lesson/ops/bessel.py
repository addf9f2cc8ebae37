"""Bessel functions of the orders 0 and 1, in NumPy alone; those of any order are SciPy's (`by_scipy`).

Near 0 they are quotients of polynomials, far out waves or exponentials by slowly changing quotients: fitted in 45
digits with mpmath as in `special`, where the method is told. Next to each stands its largest relative error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.blocks import choose
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.ops.special import Special, horner, quotient

# I0(x) up to 8, in x**2: 1.27e-17.
I0_NEAR = (
    (1.0, 0.23833713666469178, 0.012776747070419987, 0.0002684085505045012, 2.711273528657479e-06,
     1.4220539582543079e-08, 3.7946342841538255e-11, 4.175465609213877e-14),
    (1.0, -0.011662863335308353, 6.746290424730863e-05, -2.5271372105378865e-07, 6.667082726223218e-10,
     -1.2462933667338475e-12, 1.5351332379414219e-15, -9.626963406498644e-19),
)  # fmt: skip
# I0(x) exp(-x) sqrt(x) from 8 on, in 16 / x - 1: 1.23e-16.
I0_FAR = (
    (0.40217650944500805, -0.9286970947086516, 1.5454451302779737, -1.5343798019904873, 1.0504056301213238,
     -0.44532292636182197, 0.11118790591339321, -0.011712950470571732, 0.00027181882844771164,
     7.109902133290264e-07),
    (1.0, -2.317533781320377, 3.8617300376216255, -3.8467010575617127, 2.6426978076405314, -1.1281607613353655,
     0.28509100432111006, -0.03118546572392887, 0.0008635657594788455),
)  # fmt: skip
# I1(x) / x, likewise: 1.39e-18.
I1_NEAR = (
    (0.5, 0.057131628728399456, 0.001961567290473433, 2.975196104934431e-05, 2.3191641375633757e-07,
     9.795859030144698e-10, 2.1684429090087058e-12, 2.022340302766887e-15),
    (1.0, -0.0107367425432011, 5.689406551368952e-05, -1.9424645580530288e-07, 4.646977014118414e-10,
     -7.839522471021489e-13, 8.67993102857526e-16, -4.880208754499355e-19),
)  # fmt: skip
# I1(x) exp(-x) sqrt(x), likewise: 1.72e-16.
I1_FAR = (
    (0.3893984590258724, -0.8774549842395999, 1.4235329771970737, -1.3766127471778176, 0.9183322195000583,
     -0.3812757560606797, 0.09450351613008494, -0.010575272896543008, 0.0003751352639475551, -2.291310514161054e-06),
    (1.0, -2.2283226523726745, 3.600494497994472, -3.4462975045266764, 2.273994508092445, -0.924016026698146,
     0.22071837333050942, -0.022077619201368467, 0.0005075535295603151),
)  # fmt: skip
# J0(x) up to 5 in z = x**2, by (z - first zero) (z - second zero): 1.65e-17.
J0_NEAR = (
    (0.005674693325155617, -0.00018790772501759315, 2.324109997521638e-06, -1.3798143228699863e-08,
     4.0433297868153925e-11, -4.815919980709423e-14),
    (1.0, 0.011153841362890913, 6.0201502567410785e-05, 2.008090671907912e-07, 4.2600492473608797e-10,
     4.796139463179728e-13),
)  # fmt: skip
# J1(x) / x, by (z - first zero): 5.74e-21.
J1_NEAR = (
    (-0.03405537391318949, 0.00156907497570406, -2.642471373566577e-05, 2.1578032463351392e-07,
     -9.296245964618177e-10, 2.061526086686257e-12, -1.8899240234073106e-15),
    (1.0, 0.010815026716464475, 5.762870021999203e-05, 1.966795695248668e-07, 4.622547451769052e-10,
     7.274588293846514e-13, 6.204949403747836e-16),
)  # fmt: skip
# Y0(x) - 2 / pi log(x) J0(x), in z, of the largest: 4.18e-21.
Y0_NEAR = (
    (-0.07380429510868723, 0.17667178134058115, -0.013831761509877232, 0.00034949991477272027,
     -3.918506237889138e-06, 2.168241232235263e-08, -5.848530992590972e-11, 6.217008004239804e-14),
    (1.0, 0.012658281297995047, 8.103059144600997e-05, 3.4501830633301137e-07, 1.0743109363130075e-09,
     2.5027328482361797e-12, 4.166042265172187e-15, 4.006759222546624e-18),
)  # fmt: skip
# (Y1(x) - 2 / pi (log(x) J1(x) - 1 / x)) / x, likewise: 3.72e-18.
Y1_NEAR = (
    (-0.19605709064623894, 0.05172309385083745, -0.0022451241800839775, 3.688181939900497e-05,
     -2.7804978587699027e-07, 9.83779807941657e-10, -1.34534359933951e-12),
    (1.0, 0.013391988532617553, 9.005464966517268e-05, 3.968487003297121e-07, 1.2393989366796138e-09,
     2.6926134687790163e-12, 3.3566814932634526e-15),
)  # fmt: skip
# The part of a wave of order 0 in phase, from 5 on, in 1 / x**2: 4.77e-18.
P0 = (
    (1.0, 132.68585609372374, 5475.185776054862, 85294.35677931894, 485483.99017433566, 811458.8564101869,
     195239.48480423755),
    (1.0, 132.75616859372366, 5484.408042059668, 85665.66283798138, 490962.1983618466, 838815.5021539265,
     226462.571703462),
)  # fmt: skip
# The part a quarter turn later, times x: 3.05e-18.
Q0 = (
    (-0.125, -26.55280111019819, -1898.9998189671996, -57351.638342706196, -752104.7346483283, -3944591.9131537043,
     -6467990.472954098, -1433051.465421779),
    (1.0, 213.00834638158543, 15314.991265682163, 467413.54905683413, 6265636.866215973, 34553325.564485066,
     64873122.7384423, 25215667.412241433),
)  # fmt: skip
# The same of order 1: 5.51e-18.
P1 = (
    (1.0, 130.47626718995946, 5273.748207485945, 80064.20641419686, 441611.8727831267, 716718.9539564332,
     186774.45295612703),
    (1.0, 130.35907968995954, 5258.615948391223, 79466.08296541129, 432976.394061317, 674656.0668730172,
     140022.40766951873),
)  # fmt: skip
# And a quarter turn later: 1.16e-18.
Q1 = (
    (0.375, 78.73193100315424, 5555.645013989398, 165250.59901490176, 2131709.46829903, 11017756.283668024,
     18099621.111448653, 4640063.503184269),
    (1.0, 210.2252535084113, 14871.796634537282, 444584.4774728864, 5796161.40077868, 30701882.365635544,
     53939128.97143825, 18165418.59058231),
)  # fmt: skip
# Polynomials in the places of these quotients, for single precision near zeros too: up to 5 to 8e-11, 6e-12, 1e-11
# and 7e-12, the last two of the largest; of the waves in 1 / x**2 to 5e-10.
J0_SHORT = (0.00567469332471, -0.000251202352158, 4.78435462894e-06, -5.31784156726e-08, 3.93516466902e-10,
            -2.08770923287e-12, 8.163993714e-15, -2.03570251596e-17)  # fmt: skip
J1_SHORT = (-0.034055373913, 0.00193738475352, -4.54150138429e-05, 6.01993642405e-07, -5.18824001173e-09,
            3.15360543706e-11, -1.42412862837e-13, 4.85242352882e-16, -1.06999593754e-18)  # fmt: skip
Y0_SHORT = (-0.0738042951084, 0.177606016867, -0.0160739680219, 0.000538602664319, -9.49500438756e-06,
            1.03584606769e-07, -7.69289981087e-10, 4.14220586576e-12, -1.68664400129e-14, 5.2285733323e-17,
            -1.04589626166e-19)  # fmt: skip
Y1_SHORT = (-0.196057090645, 0.0543486881533, -0.00295530532647, 7.16426825516e-05, -9.92672767194e-07,
            8.9316847248e-09, -5.64623382723e-11, 2.63924983897e-13, -9.23479660213e-16, 2.05662948086e-18)  # fmt: skip
P0_SHORT = (0.999999999579, -0.0703116546932, 0.11187224758, -0.536921630157, 3.77435800959, -17.9989815208)
Q0_SHORT = (-0.124999999947, 0.0732419970031, -0.22699329313, 1.70052046945, -20.9824786913, 285.923850335,
            -2915.11969161, 14445.7084481)  # fmt: skip
P1_SHORT = (1.00000000047, 0.117186558757, -0.143884203697, 0.637075628257, -4.33847760363, 20.4359371745)
Q1_SHORT = (0.374999999943, -0.10253885573, 0.277451938499, -1.9640150042, 23.5669371901, -316.995345624,
            3213.0876512, -15878.2889336)  # fmt: skip

ZEROS_OF_J0 = (5.783185962946785, 30.471262343662087)  # the squares of the first two
ZERO_OF_J1 = 14.681970642123893  # of the first but 0


def integral(n, x, sign):
    """The integral of Bessel's over half a turn, by the midpoint rule: `sign` 1 for I, -1 for J."""
    t = (np.arange(64) + 0.5) * (math.pi / 64)
    x = np.asarray(x)[..., None]
    if sign > 0:
        return np.mean(np.exp(x * np.cos(t)) * np.cos(n * t), axis=-1)
    return np.mean(np.cos(n * t - x * np.sin(t)), axis=-1)


def over(F, y, x, limit):
    """``y / x``, and its limit at 0."""
    zero = F.equal(x, 0)
    return F.where(zero, limit, y / F.where(zero, 1, x))


def grown(xp, size, coefficients, last):
    """A modified function from 8 on; beyond `last` it is larger than any number."""
    x = xp.minimum(xp.maximum(size, 8.0), last)
    half = xp.exp(x * 0.5)
    y = half * (quotient(coefficients, 16 / x - 1) / xp.sqrt(x)) * half
    return choose(xp, xp.greater(size, last), math.inf, y)


@op
class I0(Special):
    """The modified Bessel function of order 0."""

    def values(self, xp, x):
        size = xp.abs(x)
        near = quotient(I0_NEAR, xp.square(xp.minimum(size, 8.0)))
        return choose(xp, xp.less(size, 8), near, grown(xp, size, I0_FAR, 713.9869085439))

    def vjp(self, F, g, y, x):
        return (g * F.i1(x),)

    def oracle(self, x):
        return integral(0, x, 1)


@op
class I1(Special):
    """The modified Bessel function of order 1."""

    def values(self, xp, x):
        size, low = xp.abs(x), xp.minimum(xp.maximum(x, -8.0), 8.0)
        far = xp.copysign(grown(xp, size, I1_FAR, 713.9876098185), x)
        return choose(xp, xp.less(size, 8), low * quotient(I1_NEAR, low * low), far)

    def vjp(self, F, g, y, x):
        return (g * (F.i0(x) - over(F, y, x, 0.5)),)

    def oracle(self, x):
        return integral(1, x, 1)


def smooth(table, t):
    """A quotient of two polynomials, or one polynomial: by the table."""
    return quotient(table, t) if isinstance(table[0], tuple) else horner(table, t)


def wave(xp, x, slow, ahead):
    """Both functions of an order from 5 on: a wave, which begins an eighth of a turn late, or three, and the next one.

    The eighth is taken by the sum and the difference of sine and cosine, so that its rounding does not grow with `x`.
    """
    x = xp.maximum(x, 5.0)
    turned = xp.minimum(x, 1e300)  # infinity has no angle, and there the wave is 0
    cosine, sine, t = xp.cos(turned), xp.sin(turned), 1 / x
    a, b = (sine - cosine, -(sine + cosine)) if ahead else (cosine + sine, sine - cosine)
    p, q = smooth(slow[0], t * t), t * smooth(slow[1], t * t)
    size = xp.sqrt(t * (1 / math.pi))
    return size * (p * a - q * b), size * (p * b + q * a)


def near_of_j0(x, table):
    """J0 up to 5."""
    z = x * x
    return (z - ZEROS_OF_J0[0]) * (z - ZEROS_OF_J0[1]) * smooth(table, z)


def near_of_j1(x, table):
    """J1 up to 5."""
    z = x * x
    return x * (z - ZERO_OF_J1) * smooth(table, z)


class Pieces(Special):
    """A function of two pieces, by tables for one precision: up to 5, and from there on a wave, in phase and behind."""

    contracts = True

    tables: ClassVar[tuple[Any, ...]]
    short_tables: ClassVar[tuple[Any, ...]]
    ahead: ClassVar[bool] = False
    piecewise: ClassVar[Callable[..., Any]]

    def values(self, xp, x):
        return self.piecewise(xp, x, *self.tables)

    def short(self, xp, x):
        return self.piecewise(xp, x, *self.short_tables)


class First(Pieces):
    """A function of the first kind: `near(x, table)` up to 5, from there on a wave."""

    near: ClassVar[Callable[..., Any]]

    def piecewise(self, xp, x, near, *slow):
        size = xp.abs(x)
        far = wave(xp, size, slow, self.ahead)[0]
        far = far * xp.sign(x) if self.ahead else far
        return choose(xp, xp.less(size, 5), self.near(xp.minimum(xp.maximum(x, -5.0), 5.0), near), far)


@op
class J0(First):
    """The Bessel function of order 0."""

    tables = J0_NEAR, P0, Q0
    short_tables = J0_SHORT, P0_SHORT, Q0_SHORT
    near = staticmethod(near_of_j0)

    def vjp(self, F, g, y, x):
        return (-g * F.j1(x),)

    def oracle(self, x):
        return integral(0, x, -1)


@op
class J1(First):
    """The Bessel function of order 1."""

    tables = J1_NEAR, P1, Q1
    short_tables = J1_SHORT, P1_SHORT, Q1_SHORT
    ahead = True
    near = staticmethod(near_of_j1)

    def vjp(self, F, g, y, x):
        return (g * (F.j0(x) - over(F, y, x, 0.5)),)

    def oracle(self, x):
        return integral(1, x, -1)


class Second(Pieces):
    """A function of the second kind, of positive numbers: `near(xp, x, *tables)` up to 5, from there on a wave."""

    zero: ClassVar[float] = 0.8935769662791675  # where larger parts cancel
    near: ClassVar[Callable[..., Any]]

    def piecewise(self, xp, x, first, second, *slow):
        positive = xp.greater(x, 0)
        near = self.near(xp, xp.minimum(choose(xp, positive, x, 1), 5.0), first, second)
        y = choose(xp, xp.less(x, 5), near, wave(xp, x, slow, self.ahead)[1])
        below = choose(xp, xp.equal(x, 0), -math.inf, math.nan)
        return choose(xp, positive, y, below)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape(), low=0.2, high=3, away_from=cls.zero)}


@op
class Y0(Second):
    """The Bessel function of the second kind of order 0; minus infinity at 0, NaN below."""

    tables = J0_NEAR, Y0_NEAR, P0, Q0
    short_tables = J0_SHORT, Y0_SHORT, P0_SHORT, Q0_SHORT

    def near(self, xp, x, first, second):
        return xp.log(x) * near_of_j0(x, first) * (2 / math.pi) + smooth(second, x * x)

    def vjp(self, F, g, y, x):
        return (-g * F.y1(x),)


@op
class Y1(Second):
    """The Bessel function of the second kind of order 1; minus infinity at 0, NaN below."""

    zero = 2.197141326031017
    tables = J1_NEAR, Y1_NEAR, P1, Q1
    short_tables = J1_SHORT, Y1_SHORT, P1_SHORT, Q1_SHORT
    ahead = True

    def near(self, xp, x, first, second):
        return (xp.log(x) * near_of_j1(x, first) - 1 / x) * (2 / math.pi) + x * smooth(second, x * x)

    def vjp(self, F, g, y, x):
        return (g * (F.y0(x) - y / x),)
