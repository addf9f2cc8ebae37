"""Integers in the place of floats, number by number, as MXNet's documentation of `quantize` says."""

import math

import numpy as np


def integers(x, low, high, kind):
    """Each number as an integer, and the ends of the range."""
    if kind == "uint8":
        each = [min(255, max(0, math.floor((t - low) * 255 / (high - low) + 0.5))) for t in x.ravel()]
        return np.array(each).reshape(x.shape), np.array([low]), np.array([high])
    size = max(abs(low), abs(high))
    each = [math.copysign(min(127, math.floor(abs(t) * 127 / size + 0.5)), t) for t in x.ravel()]
    return np.array(each).reshape(x.shape), np.array([-size]), np.array([size])


def quantize_v2(op, x):
    low, high = (x.min(), x.max()) if op.min_calib_range is None else (op.min_calib_range, op.max_calib_range)
    return integers(x, low, high, op.out_type)


def dequantize(op, x, low, high):
    if x.dtype == np.uint8:
        return x * (high - low) / 255 + low
    return x * max(abs(low), abs(high)) / 127


def requantize(op, x, low, high):
    floats = x * (max(abs(low), abs(high)) / (2**31 - 1))
    size = (
        np.abs(floats).max() if op.min_calib_range is None else max(-op.min_calib_range, op.max_calib_range)
    )
    return integers(floats, -size, size, "int8")


ORACLES_OF_QUANTIZED = {
    "Quantize": lambda op, x, low, high: integers(x, float(low[0]), float(high[0]), op.out_type),
    "QuantizeV2": quantize_v2,
    "Dequantize": dequantize,
    "Requantize": requantize,
}
