"""Angles: sine, cosine, tangent and their inverses, over the whole range of double precision.

Source
    Reductions and polynomials of fdlibm 5.3 (k_sin, k_cos, e_rem_pio2) and Cephes 2.8 (atan). An argument is reduced by
    pi / 2 in three parts; where it is large, or lies near a multiple, by as many bits of 2 / pi as that takes (Payne
    and Hanek 1983).
"""

from __future__ import annotations

import functools
import math
from typing import Any

from llvmlite import ir

from tinygrad_lesson.run.tape.functions import polynomial, rational
from tinygrad_lesson.run.tape.vector import I1, I64, Vector, declared, loop, slot, where

PARTS = (
    1.57079632673412561417,
    6.07710050630396597660e-11,
    2.02226624879595063154e-21,
)  # of pi / 2: 33, 33, 53 bits
LARGE = 2.0**20  # quarter turns; for so many a part times their number is exact
SIN = (1.58969099521155010221e-10, -2.50507602534068634195e-8, 2.75573137070700676789e-6, -1.98412698298579493134e-4,
       8.33333333332248946124e-3)  # fmt: skip
THIRD = -1.66666666666666324348e-1
COS = (-1.13596475577881948265e-11, 2.08757232129817482790e-9, -2.75573143513906633035e-7, 2.48015872894767294178e-5,
       -1.38888888888741095749e-3, 4.16666666666666019037e-2)  # fmt: skip
ATAN = (
    (-8.750608600031904122785e-1, -1.615753718733365076637e1, -7.500855792314704667340e1, -1.228866684490136173410e2,
     -6.485021904942025371773e1),
    (1, 2.485846490142306297962e1, 1.650270098316988542046e2, 4.328810604912902668951e2, 4.853903996359136964868e2,
     1.945506571482613964425e2),
)  # fmt: skip
HALF_PI_LOW = 6.123233995736765886130e-17  # what pi / 2 has beyond double precision
I128 = ir.IntType(128)
WORDS = 22  # of 2 / pi, after one of zeros


@functools.cache
def bits_of_two_over_pi() -> tuple[int, ...]:
    """The bits of 2 / pi in words, after one of zeros; pi by Machin's formula, in whole numbers."""
    more = 64 * WORDS + 64

    def arctan_of_one_over(n: int) -> int:
        power, total, k = (1 << more) // n, 0, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power, k = power // (n * n), k + 2
        return total

    pi = 4 * (4 * arctan_of_one_over(5) - arctan_of_one_over(239))
    bits = ((2 << (2 * more)) // pi) >> 64
    return (0, *[bits >> (64 * (WORDS - 1 - i)) & ((1 << 64) - 1) for i in range(WORDS)])


def reduced(x: Vector) -> tuple[Any, Any, Any]:
    """``x = n * pi / 2 + r + rest`` with a whole number n, of which two bits are right, and r within pi / 4."""
    b, kind = x.builder, x.value.type
    n = (x * (2 / math.pi)).called("rint")
    single = kind.count == 1  # a state that goes from step to step, for which each step waits
    if single:
        n = guessed(n, last_time(n))
    t = x - n * PARTS[0]
    w = n * PARTS[1]
    r = t - w  # what it loses is found by Knuth's sum of two
    back = r - t
    lost = (t - (r - back)) - (w + back)
    low = lost - n * PARTS[2]
    high = r + low
    if single:
        high = guessed(high, r)
    rest = (r - high) + low
    size = n.called("fabs")
    far = (size > LARGE) | ((high.called("fabs") < 2.0**-30) & (size > 1024.0))
    places = [slot(b, kind), slot(b, kind), slot(b, ir.VectorType(I64, kind.count))]
    quadrant = where(size > LARGE, 0.0, n).cast("fptosi", I64)
    for place, value in zip(places, (high, rest, quadrant), strict=True):
        b.store(value.value, place)
    anywhere = declared(b, f"llvm.vector.reduce.or.v{kind.count}i1", I1, [ir.VectorType(I1, kind.count)])
    with b.if_then(b.call(anywhere, [far.value])):
        from_bits(x, far, places)
    high, rest, quadrant = (x.like(b.load(place)) for place in places)
    return quadrant, high, rest


def last_time(x: Vector) -> Any:
    """A place for a number of the step before; 0 in the first."""
    b = x.builder
    place = slot(b, x.value.type)
    with b.goto_entry_block():
        b.store(ir.Constant(x.value.type, None), place)
    return place


def guessed(x: Vector, guess: Any) -> Vector:
    """One number, where it is as a rule the `guess`: another number, or a place that has the last one.

    The processor foresees that and goes on with the guess, without waiting for the number. What is not the guess goes
    through an empty instruction, so that LLVM does not find out that both are the same.
    """
    b, kind = x.builder, x.value.type
    place = guess
    if isinstance(guess, Vector):
        place = slot(b, kind)
        b.store(guess.value, place)
    other = (x != x.like(b.load(place))).value
    with b.if_then(b.extract_element(other, I64(0)), likely=False):
        bits = b.bitcast(b.extract_element(x.value, I64(0)), I64)
        same = b.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [bits], True)
        b.store(
            b.insert_element(ir.Constant(kind, ir.Undefined), b.bitcast(same, kind.element), I64(0)), place
        )
    return x.like(b.load(place))


def two_over_pi(b: Any) -> Any:
    """The table of the bits of 2 / pi, once per module."""
    known = b.module.globals.get("two_over_pi")
    if known is None:
        table = ir.ArrayType(I64, WORDS + 1)
        known = ir.GlobalVariable(b.module, table, "two_over_pi")
        known.initializer = ir.Constant(table, bits_of_two_over_pi())
        known.global_constant, known.linkage = True, "internal"
    return known


def turn_of(b: Any, bits: Any) -> Any:
    """The part of a whole turn, which is ``2**128``, that is left of a number with these bits, whatever its sign."""
    fshl = declared(b, "llvm.fshl.i64", I64, [I64] * 3)
    exponent = b.and_(b.lshr(bits, I64(52)), I64(2047))
    is_number = b.icmp_unsigned("!=", exponent, I64(2047))
    exponent = b.select(is_number, exponent, I64(1023))  # nothing else is in the table
    mantissa = b.or_(b.and_(bits, I64((1 << 52) - 1)), I64(1 << 52))
    first = b.sub(exponent, I64(1075 + 2 - 64))  # what lies before this bit makes whole turns
    word, shift, table = b.lshr(first, I64(6)), b.and_(first, I64(63)), two_over_pi(b)
    some = [b.load(b.gep(table, [I64(0), b.add(word, I64(i))])) for i in range(4)]
    t2, t1, t0 = [b.zext(b.call(fshl, [some[i], some[i + 1], shift]), I128) for i in range(3)]
    m = b.zext(mantissa, I128)
    middle = b.add(b.mul(m, t1), b.lshr(b.mul(m, t0), I128(64)))
    return b.add(b.shl(b.mul(m, t2), I128(64)), middle)


def from_bits(x: Vector, far: Vector, places: list[Any]) -> None:
    """The same for those lanes that are `far`, one by one, into the `places` of r, rest and n."""
    b, lanes = x.builder, x.value.type.count
    ctlz = declared(b, "llvm.ctlz.i128", I128, [I128, I1])
    with loop(b, I64(lanes)) as lane, b.if_then(b.extract_element(far.value, lane)):
        bits = b.bitcast(b.extract_element(x.value, lane), I64)
        turn = turn_of(b, bits)
        quarter = b.lshr(b.add(turn, I128(1 << 125)), I128(126))
        part = b.sub(turn, b.shl(quarter, I128(126)))
        negative = b.icmp_signed("<", part, I128(0))
        size = b.select(negative, b.sub(I128(0), part), part)
        zeros = b.call(ctlz, [size, I1(0)])
        shifted = b.shl(size, b.and_(zeros, I128(127)))
        pieces = []
        for down in (128 - 53, 128 - 106):
            piece = b.trunc(b.and_(b.lshr(shifted, I128(down)), I128((1 << 53) - 1)), I64)
            pieces.append(b.uitofp(piece, x.kind))
        power = b.bitcast(b.shl(b.sub(I64(1023 + 2 - 53), b.trunc(zeros, I64)), I64(52)), x.kind)
        sign = b.select(b.xor(negative, b.icmp_signed("<", bits, I64(0))), x.kind(-1.0), x.kind(1.0))
        scale = b.fmul(power, sign)
        high, low = b.fmul(pieces[0], scale), b.fmul(b.fmul(pieces[1], x.kind(2.0**-53)), scale)
        fma = declared(b, "llvm.fma.f64", x.kind, [x.kind] * 3)
        half_pi = x.kind(math.pi / 2)
        r = b.fmul(high, half_pi)
        lost = b.call(fma, [high, half_pi, b.fneg(r)])
        rest = b.fadd(lost, b.fadd(b.fmul(low, half_pi), b.fmul(high, x.kind(HALF_PI_LOW))))
        whole = b.trunc(quarter, I64)
        whole = b.select(b.icmp_signed("<", bits, I64(0)), b.sub(I64(0), whole), whole)
        for place, value in zip(places, (r, rest, whole), strict=True):
            elements = b.bitcast(place, value.type.as_pointer())
            b.store(value, b.gep(elements, [lane]))


def sine_of(r: Any, rest: Any) -> Any:
    """The sine of ``r + rest`` within pi / 4."""
    z = r * r
    v = z * r
    return r - ((z * (rest * 0.5 - v * polynomial(SIN, z)) - rest) - v * THIRD)


def cosine_of(r: Any, rest: Any) -> Any:
    """The cosine, likewise."""
    z = r * r
    half = z * 0.5
    w = 1.0 - half
    return w + (((1.0 - w) - half) + (z * (z * polynomial(COS, z)) - r * rest))


def turned(x: Vector, more: int) -> tuple[Any, Any, Any]:
    """The sine of ``x + more * pi / 2``; the sine and the cosine of what is left of x."""
    n, r, rest = reduced(x)
    n = n + more
    sine, cosine = sine_of(r, rest), cosine_of(r, rest)
    y = where((n & 1) != 0, cosine, sine)
    y = where((n & 2) != 0, -y, y)
    return y, sine, cosine


def sin(x: Vector) -> Any:
    """Sine."""
    y, _, _ = turned(x, 0)
    y = where(x.called("fabs") < 2.0**-26, x, y)  # -0 too
    return where(x.called("fabs") < math.inf, y, math.nan)


def cos(x: Vector) -> Any:
    """Cosine."""
    y, _, _ = turned(x, 1)
    return where(x.called("fabs") < math.inf, y, math.nan)


def tan(x: Vector) -> Any:
    """Tangent."""
    n, r, rest = reduced(x)
    sine, cosine = sine_of(r, rest), cosine_of(r, rest)
    odd = (n & 1) != 0
    y = where(odd, -cosine, sine) / where(odd, sine, cosine)
    y = where(x.called("fabs") < 2.0**-26, x, y)
    return where(x.called("fabs") < math.inf, y, math.nan)


def arctan(x: Vector) -> Any:
    """Inverse tangent."""
    a = x.called("fabs")
    steep, middle = a > 2.41421356237309504880, a > 0.66
    t = where(steep, -1.0 / a, where(middle, (a - 1.0) / (a + 1.0), a))
    base = where(steep, x.like(x.lift(math.pi / 2)), where(middle, x.like(x.lift(math.pi / 4)), 0.0))
    rest = where(steep, x.like(x.lift(HALF_PI_LOW)), where(middle, x.like(x.lift(HALF_PI_LOW / 2)), 0.0))
    z = t * t
    y = base + (t * (z * rational(ATAN, z)) + t + rest)
    return where(x == 0.0, x, y.called("copysign", x))


def arcsin(x: Vector) -> Any:
    """Inverse sine."""
    y = arctan(x / ((1.0 - x) * (x + 1.0)).called("sqrt"))
    return where(x.called("fabs") == 1.0, x.like(x.lift(math.pi / 2)).called("copysign", x), y)


def arccos(x: Vector) -> Any:
    """Inverse cosine."""
    y = arctan(((1.0 - x) / (x + 1.0)).called("sqrt")) * 2.0
    return where(x == -1.0, math.pi, y)


def arctan2(y: Vector, x: Vector) -> Any:
    """The angle of the point (x, y)."""
    a, b = y.called("fabs"), x.called("fabs")
    swapped = a > b
    low, high = where(swapped, b, a), where(swapped, a, b)
    ratio = where(
        high == 0.0, 0.0, where((low == math.inf) & (high == math.inf), x.like(x.lift(1.0)), low / high)
    )
    angle = arctan(ratio)
    angle = where(swapped, math.pi / 2 - angle + HALF_PI_LOW, angle)
    signs = x.like(x.lift(1.0)).called("copysign", x)  # -0 lies to the left too
    angle = where(signs < 0.0, math.pi - angle + 2 * HALF_PI_LOW, angle)
    return where((x != x) | (y != y), x + y, angle.called("copysign", y))
