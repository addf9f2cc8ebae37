"""NumPy's functions of tensors: the numbers of NumPy, and gradients that finite differences confirm."""

import numpy as np
import pytest
from scipy import linalg

import tinygrad_lesson as tl
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.tensor import Tensor

RNG = np.random.default_rng(3)
X, Y, T = RNG.normal(size=(3, 4)), RNG.uniform(0.5, 2, size=(3, 4)), RNG.normal(size=(2, 3, 4))
V, W, S = RNG.normal(size=4), RNG.uniform(0.5, 2, size=3), RNG.normal(size=(4, 4)) + 4 * np.eye(4)
B = RNG.normal(size=(2, 3, 3)) * 0.3 + np.diag([1.0, 2.0, 4.0])
G = X > 1.6  # where NaN stands
M, K, P = X > -0.6, np.array([[2, 0], [1, 1]]), np.linspace(0, 1, 4) ** 2
GIVEN = {"x": X, "y": Y, "t": T, "v": V, "w": W, "s": S, "b": B}

CASES = """
np.sum(x) | np.sum(x, 1) | np.sum(x, (0, -1), keepdims=True) | np.sum(x, axis=0, initial=3.0) | np.sum(x, 0, where=M)
np.prod(x, 1) | np.prod(x, 0, initial=2.0, where=M) | np.mean(x, 0) | np.mean(x, 1, where=M) | np.mean(x, keepdims=True)
np.max(x, 1) | np.amax(x) | np.min(x, 0, keepdims=True) | np.amin(x, (0, 1)) | np.max(x, 1, initial=0.5) | np.ptp(x, 1)
np.max(x, 1, where=M, initial=-9.0) | np.min(x, 1, where=M, initial=9.0) | np.ptp(x, axis=0, keepdims=True)
np.var(x) | np.var(x, 1, ddof=1) | np.var(x, 0, where=M, ddof=0) | np.std(x, 0) | np.std(x, ddof=1, keepdims=True)
np.var(x, 1, correction=1) | np.var(x, 0, mean=np.mean(x, 0, keepdims=True)) | np.std(x, 1, where=y > 0.1)
np.average(x) | np.average(x, 1, v) | np.average(x, weights=y) | np.average(x, 0, w, returned=True) | np.average(t, (0, 2), weights=t[:, 0] ** 2)
np.average(t, (2, 1), weights=y.T) | np.average(x, 1, v, keepdims=True)
np.nansum(np.where(G, np.nan, x), 1) | np.nanmean(np.where(G, np.nan, x), 0) | np.nanvar(np.where(G, np.nan, x), 1) | np.nanstd(np.where(G, np.nan, x), 1, ddof=1) | np.nanprod(np.where(G, np.nan, x), 1)
np.nanmax(np.where(G, np.nan, x), 1) | np.nanmin(np.where(G, np.nan, x), 0) | np.nanmedian(np.where(G, np.nan, x), 1) | np.nanquantile(np.where(G, np.nan, x), [0.2, 0.7], axis=1) | np.nanpercentile(np.where(G, np.nan, x), 30)
np.nancumsum(np.where(G, np.nan, x), 1) | np.nancumprod(np.where(G, np.nan, x), 0) | np.nan_to_num(np.where(G, np.nan, x), nan=2.0)
np.median(x) | np.median(x, 1) | np.median(t, (0, 2), keepdims=True) | np.quantile(x, 0.3) | np.quantile(x, [[0.1, 0.5], [0.9, 1]], axis=1)
np.quantile(x, 0.3, axis=0, method="hazen") | np.quantile(x, 0.4, method="lower") | np.quantile(x, 0.4, method="nearest", keepdims=True)
np.quantile(x, 0.3, axis=1, weights=P + 0.1, method="inverted_cdf") | np.quantile(x, [0.2, 0.6], weights=np.abs(X), method="inverted_cdf") | np.nanpercentile(np.where(G, np.nan, x), [20, 90], axis=0, weights=np.abs(X), method="inverted_cdf") | np.percentile(x, 30, axis=(0, 1), weights=np.abs(X), method="inverted_cdf", keepdims=True) | np.percentile(x, [25, 75], axis=0) | np.percentile(x, 10, method="midpoint") | np.quantile(x, [0.2, 0.8], axis=1, keepdims=True)
np.cumsum(x) | np.cumsum(x, 1) | np.cumprod(x, 1) | np.cumprod(x) | np.cumulative_sum(v, include_initial=True) | np.cumulative_prod(x, axis=0)
np.diff(x) | np.diff(x, 2, axis=0) | np.diff(x, prepend=0.0, append=x) | np.diff(v, 2, prepend=[1.0, 3.0]) | np.ediff1d(x) | np.ediff1d(x, to_end=[1.0, 2.0], to_begin=v)
np.gradient(v) | np.gradient(x) | np.gradient(x, 2.0, axis=1) | np.gradient(x, 0.5, P, edge_order=2) | np.gradient(v, P, edge_order=1) | np.gradient(t, axis=(0, 2))
np.trapezoid(x) | np.trapezoid(x, dx=0.3, axis=0) | np.trapezoid(x, v) | np.trapezoid(x, y)
np.interp(v, np.array([-1.0, 0.0, 1.0]), w) | np.interp(0.3, P, v) | np.interp(v, w[:1], w[1:2]) | np.interp(v, P, y[0], left=2.0, right=3.0)
np.interp(v, P, y[0], period=1.3)
np.linspace(x[0], y[1], 5) | np.linspace(v[0], 3, 4, endpoint=False) | np.linspace(v[0], v[1], 3, retstep=True) | np.logspace(w[0], w[1], 4) | np.geomspace(w[0], w[1], 4) | np.linspace(x, y, 3, axis=1)
np.cov(x) | np.cov(x, y) | np.cov(x, rowvar=False) | np.cov(x, bias=True) | np.cov(x, fweights=[1, 2, 1, 3]) | np.cov(x, aweights=[0.1, 0.4, 0.3, 0.2]) | np.cov(v) | np.corrcoef(x) | np.corrcoef(v, w[[0, 1, 2, 0]])
np.polyval(v, w) | np.polyadd(v, w) | np.polysub(w, v) | np.polyder(v, 2) | np.polyint(w, 2) | np.polyint(w, 2, k=[3.0, 1.0]) | np.poly(v) | np.poly(s) | np.polyval(x, 2.0) | np.polyfit(P, v, 2) | np.polyfit(P, x.T, 1) | np.polyfit(P, v, 1, w=[1.0, 2.0, 1.0, 3.0]) | np.vander(w) | np.vander(v, 3, increasing=True) | np.polymul(v, w) | np.polydiv(v, w[:2])
np.ravel(x) | np.ravel(x, "F") | np.reshape(x, (2, 6)) | np.reshape(x, (4, -1), order="F") | np.reshape(x, -1) | x.reshape(6, 2)
np.transpose(t, (1, 2, 0)) | np.transpose(x) | np.permute_dims(t, (2, 0, 1)) | np.moveaxis(t, 0, -1) | np.moveaxis(t, [0, 1], [-1, 0]) | np.rollaxis(t, 2) | np.rollaxis(t, 0, 3) | np.swapaxes(t, 0, 2) | np.matrix_transpose(t)
np.expand_dims(x, 1) | np.expand_dims(x, (0, -1)) | np.squeeze(t[:1]) | np.squeeze(t[:, :1], axis=1) | np.atleast_1d(v[0]) | np.atleast_2d(v) | np.atleast_3d(x) | np.atleast_2d(v, x)
np.broadcast_to(v, (2, 4)) | np.broadcast_arrays(x, v) | np.meshgrid(v, w) | np.meshgrid(v, w, indexing="ij", sparse=True)
np.flip(x) | np.flip(x, 1) | np.flipud(x) | np.fliplr(x) | np.rot90(x) | np.rot90(x, 2) | np.rot90(x, 3) | np.rot90(t, 1, (1, 2)) | np.rot90(x, -1) | np.roll(x, 2) | np.roll(x, (1, -2), (0, 1)) | np.roll(x, 1, axis=0) | np.roll(t, 3, (0, 2)) | np.roll(x, 5, 1)
np.repeat(x, 2) | np.repeat(x, [1, 0, 2], axis=0) | np.repeat(x, 3, axis=1) | np.tile(x, 2) | np.tile(x, (2, 1, 2)) | np.resize(v, (2, 3))
np.pad(x, 1) | np.pad(x, ((0, 1), (2, 0)), constant_values=3.0) | np.pad(x, (1, 2), "edge") | np.pad(x, 2, "reflect") | np.pad(x, 2, mode="symmetric") | np.pad(x, ((1, 2), (5, 0)), mode="wrap") | np.pad(v, (1, 1), constant_values=(1, 2))
np.concatenate([x, y]) | np.concatenate((x, y), axis=1) | np.concatenate([x, v], axis=None) | np.concat([x, x], 1) | np.stack([x, y]) | np.stack([x, y], axis=-1) | np.hstack([v, w]) | np.hstack([x, y]) | np.vstack([x, v]) | np.dstack([x, y]) | np.column_stack([w, x]) | np.block([[x, y], [y, x]]) | np.block([v, w]) | np.append(x, v) | np.append(x, y, axis=1)
np.insert(x, 1, v, axis=0) | np.insert(v, [1, 3], [5.0, 6.0]) | np.insert(x, 1, 2.0, axis=1) | np.insert(x, [0, 2], w[:, None], axis=1) | np.delete(x, 1, 0) | np.delete(x, [0, 3], axis=1) | np.delete(x, slice(1, 3)) | np.delete(v, np.array([True, False, True, False]))
np.split(x, 2, axis=1) | np.split(v, [1, 3]) | np.array_split(v, 3) | np.array_split(x, 2) | np.hsplit(x, 2) | np.vsplit(x, [1]) | np.dsplit(t, 2) | np.unstack(x, axis=1) | np.array_split(v, 6) | np.stack((x, y), 1) | np.full_like(x, v) | np.full_like(v, v[0], shape=(2, 2))
np.diag(v) | np.diag(x) | np.diag(x, 1) | np.diagflat(x[:2, :2], -1) | np.diagonal(t, 0, 1, 2) | np.diagonal(x, 1) | np.trace(x) | np.trace(t, 1, 0, 2) | np.linalg.trace(t) | np.linalg.matrix_transpose(t) | np.linalg.diagonal(t, offset=1) | np.tril(x) | np.triu(t, 1) | np.tril(v) | np.triu(x, -1)
np.take(x, [0, 2], axis=1) | np.take(x, K) | np.take(x, [-1, 5], axis=0, mode="clip") | np.take_along_axis(x, np.argsort(X, 1), 1) | np.take_along_axis(x, np.array([[1, 2]]), axis=1) | np.take_along_axis(x, np.array([3, 11]), None) | np.take_along_axis(x, np.array([[-1]]), axis=1)
np.where(M, x, y) | np.where(M, x, 0.0) | np.select([X > 0.5, X > 0], [x, y], 3.0) | np.choose(np.array([0, 1, 1, 0]), [v, x]) | np.compress([True, False, True], x, axis=0) | np.extract(M, x) | np.trim_zeros(np.where(V > 0, v, 0)) | np.sort(x) | np.sort(x, axis=None) | np.sort(x, 0) | np.partition(x, 2) | np.partition(x, 1, axis=0) | np.bincount([0, 2, 2, 1], v) | np.bincount([1, 0, 3], weights=w, minlength=6) | np.piecewise(x, [X < 0, X >= 1], [lambda a: a**2, lambda a: 3 * a, 7.0]) | np.apply_along_axis(lambda r: r[0] * r[1:], 0, x) | np.apply_along_axis(lambda r: r[0] * r, 1, t) | np.apply_over_axes(np.sum, t, [0, 2])
x[1] | x[:, 1:3] | x[..., None] | x[::-1, ::2] | x[[0, 2]] | x[K[0]] | x[:, K] | x[K, K] | x[M] | x[M[:, 0]] | x[[True, False, True]] | x[[0, 1], [1, 2]] | x[None, K, 1] | t[0, :, [1, 2]] | t[:, [0, 1], [1, 2]] | t[[0, 1], :, [1, 2]] | t[..., [0, -1]] | t[:, M[:, :1][:, 0]] | t[1, M] | x[np.ix_([0, 2], [1, 3])] | x[1, [0, 0, 0]] | x[np.array(1)] | x[np.array([[0]]), None, [1, 2]]
np.dot(x, v) | np.dot(x, y.T) | np.dot(t, v) | np.dot(x, np.dot(2.0, v)) | np.dot(t, np.swapaxes(t, 1, 2)) | np.vdot(x, y) | np.inner(x, y) | np.inner(t, v) | np.inner(2.0, v) | np.outer(v, w) | np.outer(x, v) | np.linalg.outer(v, w) | np.tensordot(x, y) | np.tensordot(t, x, ([1, 2], [0, 1])) | np.tensordot(t, v, 1) | np.tensordot(v, w, 0) | np.linalg.tensordot(x, y) | np.linalg.matmul(x, y.T) | np.tensordot(t, x, (-2, 0)) | np.kron(x, y) | np.kron(v, x) | np.kron(t, w) | np.vecdot(x, v) | np.linalg.vecdot(x, y, axis=0) | np.matmul(x, v) | np.matmul(t, y.T) | np.matvec(t, v) | np.vecmat(w, t) | x @ v
np.cross(x[:, :3], w) | np.cross(x, y, axis=0) | np.cross(x, y.T, 0, 1, 0) | np.linalg.cross(w, x.T)
np.convolve(v, w) | np.convolve(w, v, "same") | np.convolve(v, w, "valid") | np.convolve(v, w[:2], "same") | np.correlate(v, w) | np.correlate(w, v) | np.correlate(v, w, "full") | np.correlate(w, v, mode="full") | np.correlate(v, w[:2], "same") | np.correlate(w[:2], v, "same") | np.correlate(w, v, "same") | np.convolve(w[:2], v, "same") | np.convolve(v, v[:3], "same") | np.correlate(v, x[0], "same")
np.einsum("ij,kj->ik", x, y) | np.einsum("ij,kj", x, y) | np.einsum("ij->j", x) | np.einsum("ij", x) | np.einsum("ji", x) | np.einsum("ii->i", s) | np.einsum("ii", s) | np.einsum("ii,i->", s, v) | np.einsum("...j,j->...", t, v) | np.einsum("...ij,...kj->...ik", t, x) | np.einsum("i,j", v, w) | np.einsum("ij,ij,ij->i", x, y, x) | np.einsum("i...->...", t) | np.einsum(x, [0, 1], v, [1]) | np.einsum(t, [0, 1, 2], x, [1, 2], [2, 0]) | np.einsum("ij,jk,kl->il", x, x.T, y) | np.einsum("i,ij->ij", w, x) | np.einsum("ij,j->i", x, v, optimize=True) | np.einsum("ij,kj->i", x, y) | np.einsum("ij,kj->ik", x, y[:, :1]) | np.einsum("...,...", x, v) | np.einsum(t, [..., 0], v, [0]) | np.einsum("b...i,c...i->bc...", t, t) | np.einsum("iij->j", np.stack([s, s], -1)) | np.einsum("a,a,a", v, v, v) | np.einsum("ij,->ij", x, w[0]) | np.einsum("ba,", x, w[0])
np.linalg.inv(s) | np.linalg.inv(b) | np.linalg.det(b) | np.linalg.slogdet(b) | np.linalg.slogdet(-s)[1] | np.linalg.cholesky(b @ np.matrix_transpose(b)) | np.linalg.cholesky(s @ s.T, upper=True) | np.linalg.eigh(b + np.matrix_transpose(b)) | np.linalg.eigvalsh(s + s.T) | np.linalg.qr(s) | np.linalg.qr(x.T) | np.linalg.qr(x) | np.linalg.qr(t, "r") | np.linalg.qr(b) | np.linalg.svd(s) | np.linalg.svd(x, full_matrices=False) | np.linalg.svd(t, compute_uv=False) | np.linalg.svdvals(x) | np.linalg.pinv(x) | np.linalg.pinv(t) | np.linalg.solve(s, v) | np.linalg.solve(s, x.T) | np.linalg.solve(b, x[:, :3]) | np.linalg.solve(b, np.ones((2, 3, 1))) | np.linalg.lstsq(x.T, v)[0] | np.linalg.lstsq(y.T, x.T)[1] | np.linalg.lstsq(x, w)[0]
np.linalg.matrix_power(s, 3) | np.linalg.matrix_power(s, -2) | np.linalg.matrix_power(b, 0) + b | np.linalg.matrix_power(b, 5) | np.linalg.multi_dot([x, x.T, y]) | np.linalg.multi_dot([v, x.T, y, v]) | np.linalg.tensorinv(np.reshape(s, (2, 2, 4))) | np.linalg.tensorsolve(np.reshape(s, (2, 2, 4)), np.reshape(v, (2, 2))) | np.linalg.cond(s) | np.linalg.cond(b, -2) | np.linalg.cond(b, 1) | np.linalg.cond(s, "fro")
np.linalg.norm(x) | np.linalg.norm(x, axis=1) | np.linalg.norm(x, 1, 0) | np.linalg.norm(v, 3) | np.linalg.norm(v, 0.5) | np.linalg.norm(v, np.inf) | np.linalg.norm(v, -np.inf) | np.linalg.norm(x, 0, axis=1) + x[:, 0] | np.linalg.norm(v, -1) | np.linalg.norm(x, "fro") | np.linalg.norm(x, "nuc") | np.linalg.norm(x, 2) | np.linalg.norm(x, -2) | np.linalg.norm(x, 1) | np.linalg.norm(x, -1) | np.linalg.norm(x, np.inf) | np.linalg.norm(x, -np.inf, keepdims=True) | np.linalg.norm(t, axis=(0, 2)) | np.linalg.norm(t, 1, axis=(2, 0)) | np.linalg.norm(t, 2, axis=(1, 2), keepdims=True) | np.linalg.norm(t) | np.linalg.vector_norm(t, axis=(0, 1), ord=3) | np.linalg.vector_norm(x, keepdims=True) | np.linalg.matrix_norm(t, ord="nuc") | np.linalg.matrix_norm(t)
np.fft.fft(x) | np.fft.fft(x, 3) | np.fft.fft(x, 6, 0, "ortho") | np.fft.ifft(v) | np.fft.rfft(x) | np.fft.rfft(x, 5) | np.fft.irfft(x) | np.fft.irfft(x, 5, norm="forward") | np.fft.irfft(np.fft.rfft(x, axis=0) * np.fft.rfft(y, axis=0), 3, 0) | np.fft.hfft(v) | np.fft.hfft(v, 7) | np.fft.ihfft(x) | np.fft.fft2(t) | np.fft.ifft2(x, (5, 2)) | np.fft.fftn(t) | np.fft.fftn(t, axes=(0, 2)) | np.fft.ifftn(x, norm="ortho") | np.fft.rfft2(t) | np.fft.rfftn(t) | np.fft.rfftn(t, (3, 5), (0, 2)) | np.fft.irfftn(np.fft.rfftn(t)) | np.fft.irfft2(np.fft.rfft2(x), x.shape) | np.fft.fftshift(x) | np.fft.ifftshift(x, 1) | np.fft.fftshift(v) | np.fft.irfft(np.fft.fft(v) * (1 + 2j)) | np.fft.irfft2(np.fft.fft2(x))
np.real(np.fft.fft(v)) | np.imag(np.fft.fft(v)) | np.angle(np.fft.fft(v)[1:2]) | np.angle(np.fft.fft(v)[1:2], deg=True) | np.conj(np.fft.fft(v)) | np.conjugate(x) | np.abs(np.fft.fft(v)) | np.real(x) | np.linalg.norm(np.fft.fft(x)) | np.vdot(np.fft.fft(v), np.fft.ifft(v) * 1j) | np.real_if_close(np.fft.ifft(np.fft.fft(v)))
np.maximum(x, 0.1) | np.minimum(x, y) | np.fmax(x, v) | np.fmin(x, 0.3) | np.clip(x, -0.5, 0.5) | np.clip(x, None, v) | np.clip(x, -y, 0.9) | np.clip(x, min=0.0) | np.clip(x, a_min=-0.3, a_max=None)
np.sin(x) | np.cos(x) | np.tan(x) | np.arcsin(x / 4) | np.arccos(x / 4) | np.arctan(x) | np.sinh(x) | np.cosh(x) | np.tanh(x) | np.arcsinh(x) | np.arccosh(y + 1) | np.arctanh(x / 4) | np.exp(x) | np.exp2(x) | np.expm1(x) | np.log(y) | np.log2(y) | np.log10(y) | np.log1p(y) | np.sqrt(y) | np.cbrt(x) | np.square(x) | np.reciprocal(y) | np.absolute(x) | np.fabs(x) | np.abs(x) | np.positive(x) | np.negative(x) | np.deg2rad(x) | np.radians(x) | np.rad2deg(x) | np.degrees(x) | np.sinc(x) | np.asinh(x) | np.acos(x / 4) | np.acosh(y + 1) | np.asin(x / 4) | np.atan(x) | np.atanh(x / 4) | np.atan2(x, y) | np.pow(y, x)
np.add(x, v) | np.subtract(x, y) | np.multiply(x, 2) | np.divide(x, y) | np.true_divide(x, y) | np.power(y, x) | np.float_power(y, 2) | np.arctan2(x, y) | np.hypot(x, y) | np.logaddexp(x, y) | np.logaddexp2(x, v) | np.remainder(x, y) | np.mod(x, y) | np.fmod(x, y) | np.copysign(x, V) | np.divmod(x, y)[1] | np.modf(x)[0] | np.frexp(x)[0] | np.ldexp(x, 3) | np.unwrap(4 * v) | np.unwrap(x, period=2.0, axis=0) | np.astype(x, x.dtype) | np.copy(x)
x % 0.7 | 2.0 % y | x // 0.7 + x | divmod(x, y)[1] | x.sum(1) | x.mean(0, keepdims=True) | x.max(1) | x.ravel() | x.std(0) | x.cumsum(1) | x.cumprod() | x.take([0, 1]) | x.repeat(2, 0) | x.dot(v) | x.trace() | x.diagonal(1) | x.T | x.clip(-1, 1) | x.prod(1) | x.squeeze() | x.swapaxes(0, 1) | x.conj() | x.real | t.mT | x.compress([True, False, True], 0) | x.var(1, ddof=1)
"""
EXPRESSIONS = [case.strip() for line in CASES.strip().splitlines() for case in line.split(" | ")]


def evaluated(expression, values):
    """The results of an expression, as a list."""
    y = eval(expression, {"np": np, "M": M, "K": K, "P": P, "X": X, "V": V, "G": G, **values})
    return list(y) if isinstance(y, tuple | list) else [y]


def parts(values):
    """Real numbers in the place of complex ones, all in one vector."""
    flat = [np.ravel(np.asarray(v)) for v in values]
    return np.concatenate([p for v in flat for p in ((v.real, v.imag) if np.iscomplexobj(v) else (v,))])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_numbers_are_those_of_numpy_and_gradients_those_of_differences(expression):
    with np.errstate(all="ignore"):
        expected = evaluated(expression, GIVEN)
        tensors = {name: Tensor(value, requires_grad=True) for name, value in GIVEN.items()}
        found = evaluated(expression, tensors)
        assert len(found) == len(expected)
        for y, z in zip(found, expected, strict=True):
            assert isinstance(y, Tensor)
            assert (y.shape, y.dtype.kind) == (np.shape(z), np.asarray(z).dtype.kind)
            np.testing.assert_allclose(y.numpy(), z, rtol=1e-10, atol=1e-11)
        weights = np.random.default_rng(0).normal(size=parts(expected).size)

        def loss(values):
            return float(
                np.sum(np.where(np.isnan(p := parts(evaluated(expression, values))), 0, p * weights))
            )

        total, at = 0.0, 0
        for y in found:
            for part in (tl.real(y), tl.imag(y)) if y.dtype.kind == "c" else (y,):
                flat = tl.where(np.isnan(part.numpy()), 0.0, part).reshape(-1)
                total, at = total + tl.sum(flat * weights[at : at + part.size]), at + part.size
        assert at == weights.size
        total.backward()
        slopes = 0.0
        for k, name in enumerate(GIVEN):
            direction = np.random.default_rng(k).normal(size=GIVEN[name].shape)
            g = tensors[name].grad
            slope = 0.0 if g is None else float(np.sum(g.numpy() * direction))
            steps = []
            for h in (1e-3, 5e-4):
                ends = [loss({**GIVEN, name: GIVEN[name] + sign * h * direction}) for sign in (1, -1)]
                steps.append((ends[0] - ends[1]) / (2 * h))
            difference = (4 * steps[1] - steps[0]) / 3
            assert slope == pytest.approx(difference, rel=2e-6, abs=2e-7), name
            slopes += abs(slope)
        assert slopes > 0, "no gradient reached anything"


SHORT = {name: value.astype(np.float32) for name, value in {**GIVEN, "P": P, "X": X, "V": V}.items()}
DOUBLE = (
    "np.float_power",
    "np.bincount",
    "np.interp(v, np.array",
    "np.linalg.solve(b, np.ones",
)  # in NumPy's words, or by an array


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if not e.startswith(DOUBLE)])
def test_single_precision_stays_where_numpy_widens_it_too(expression):
    with np.errstate(all="ignore"):
        expected = evaluated(expression, SHORT)
        tensors = {name: Tensor(SHORT[name], requires_grad=True) for name in GIVEN}
        found = evaluated(expression, {**SHORT, **tensors})
        for y, z in zip(found, expected, strict=True):
            assert y.dtype == {"f": np.float32, "c": np.complex64}[y.dtype.kind]
            np.testing.assert_allclose(y.numpy(), z, rtol=2e-3, atol=1e-4)


# What NumPy has no like of.


def test_elements_at_some_places_are_set_added_to_and_multiplied():
    keys = [
        1,
        (slice(None), [0, 0, 2]),
        M,
        (K, 1),
        (..., -1),
        ([2, 0], slice(1, 3)),
        np.array([], int),
        (None, 2),
    ]
    for key in keys:
        for name, same in (("set", None), ("add", np.add), ("multiply", None)):
            values = RNG.normal(size=np.shape(X[key]))
            expected = X.copy()
            if name == "set":
                expected[key] = values
            elif name == "add":
                same.at(expected, key, values)
            else:
                expected[key] = X[key] * values
            x, v = Tensor(X, requires_grad=True), Tensor(values, requires_grad=True)
            y = getattr(x.at[key], name)(v)
            np.testing.assert_allclose(y.numpy(), expected)
            np.testing.assert_array_equal(x.numpy(), X)
            (y * T[0]).sum().backward()
            moved = X.copy()  # the result is linear in both: a difference is the derivative
            direction, turn = RNG.normal(size=X.shape), RNG.normal(size=values.shape)
            moved = getattr(Tensor(X + direction).at[key], name)(Tensor(values)).numpy()
            assert np.sum((moved - expected) * T[0]) == pytest.approx(np.sum(x.grad.numpy() * direction))
            moved = getattr(Tensor(X).at[key], name)(Tensor(values + turn)).numpy()
            slope = 0.0 if v.grad is None else np.sum(v.grad.numpy() * turn)
            assert np.sum((moved - expected) * T[0]) == pytest.approx(slope)


def test_of_values_for_one_place_the_last_is_set_and_all_are_added():
    v = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = Tensor(np.zeros(2)).at[[0, 1, 0]].set(v)
    assert y.numpy().tolist() == [3, 2]
    assert tl.grad(lambda v: (Tensor(np.zeros(2)).at[[0, 1, 0]].set(v) * [5.0, 7.0]).sum())(
        v
    ).numpy().tolist() == [0, 7, 5]
    assert Tensor(np.zeros(2)).at[[0, 1, 0]].add(v).numpy().tolist() == [4, 2]
    assert tl.grad(lambda v: Tensor(np.ones(3))[[0, 0, 1]].sum() * v.sum())(v).numpy().tolist() == [3, 3, 3]


def test_an_element_taken_twice_gets_both_gradients():
    assert tl.grad(lambda x: (x[[0, 0, 2]] * [1.0, 10.0, 100.0]).sum())(np.ones(3)).numpy().tolist() == [
        11,
        0,
        100,
    ]
    assert tl.grad(lambda x: x[np.array([True, False, True])].sum())(np.ones(3)).numpy().tolist() == [1, 0, 1]


def test_extremes_that_tie_share_the_gradient():
    x = np.array([2.0, 1.0, 2.0, np.nan])
    assert tl.grad(lambda x: np.max(x))(x[:3]).numpy().tolist() == [0.5, 0, 0.5]
    assert tl.grad(lambda x: np.nanmax(x))(x).numpy().tolist() == [0.5, 0, 0.5, 0]
    assert tl.grad(lambda x: np.linalg.norm(x, np.inf))(x[:3]).numpy().tolist() == [0.5, 0, 0.5]
    assert tl.grad(lambda x: np.clip(x, np.full(3, 2.0), None).sum())(x[:3]).numpy().tolist() == [0.5, 0, 0.5]


SECOND = """
np.std(x, 0) | np.quantile(x, 0.3) ** 2 | np.cumprod(x, 1) | np.linalg.norm(v, 3) | np.linalg.slogdet(s)[1]
np.linalg.cholesky(s @ s.T) | np.linalg.eigh(b + b.mT)[1] ** 2 | np.linalg.qr(s)[0] | np.linalg.svd(x, full_matrices=False)[0]
np.linalg.pinv(x) | np.linalg.solve(s, v) | tl.linalg.expm(s / 4) | np.linalg.lstsq(x.T, v)[0] | np.linalg.norm(x, "nuc")
np.abs(np.fft.fft(x)) ** 2 | np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(y)) | np.einsum("ij,ij,j->i", x, x, v) | x[[0, 0, 2]] ** 3
np.kron(x, x[:2]) | np.convolve(v, v) | np.sinc(x) | np.interp(v, w[[1, 0, 2]] * 0 + [-9.0, 0.0, 9.0], w) ** 2 | np.cov(x)
x.at[[1, 1]].set(y[:2]) * x | np.trapezoid(x * x, y) | np.corrcoef(x) | np.average(x, 1, v * v) | np.var(x, 1, where=M)
"""


@pytest.mark.parametrize(
    "expression", [e.strip() for line in SECOND.strip().splitlines() for e in line.split(" | ")]
)
def test_second_derivatives_are_those_of_differences_of_the_first(expression):
    names = list(GIVEN)
    directions = [np.random.default_rng(k).normal(size=GIVEN[name].shape) for k, name in enumerate(names)]

    def loss(*values):
        total = 0.0
        for y in evaluated(expression, {"tl": tl, **dict(zip(names, values, strict=True))}):
            total = total + tl.sum(y * np.cos(np.arange(y.size)).reshape(y.shape))
        return total

    def slope(*values):
        gradients = tl.grad(loss, tuple(range(len(names))))(*values)
        return sum(tl.sum(g * d) for g, d in zip(gradients, directions, strict=True))

    given = [GIVEN[name] for name in names]
    second = tl.grad(slope, tuple(range(len(names))))(*given)
    found = sum(float(np.sum(g.numpy() * d)) for g, d in zip(second, directions, strict=True))
    steps = []
    for h in (1e-3, 5e-4):
        ends = [
            float(slope(*[x + sign * h * d for x, d in zip(given, directions, strict=True)]))
            for sign in (1, -1)
        ]
        steps.append((ends[0] - ends[1]) / (2 * h))
    assert found == pytest.approx((4 * steps[1] - steps[0]) / 3, rel=1e-5, abs=1e-6)


TRACED = """
np.sum(x, 1, where=M) | np.std(x, 0) | np.quantile(x, 0.3) | np.cumprod(x, 1) | np.diff(x) | np.pad(x, 2, "reflect") | np.roll(x, 1)
np.linalg.norm(v, 3) | np.linalg.inv(s) | np.linalg.cholesky(s @ s.T) | np.linalg.eigvalsh(s) | np.linalg.svdvals(x) | x[[0, 2]]
np.einsum("ij,kj->ik", x, y) | np.tensordot(x, y) | np.kron(x, v) | np.tril(x) | x.at[[1]].set(v)
np.gradient(x, axis=0) | np.concatenate([x, y]) | np.max(x, 1) | np.clip(x, -y, None) | np.cov(x) | np.linalg.slogdet(s)[1]
"""


@pytest.mark.parametrize(
    "expression", [e.strip() for line in TRACED.strip().splitlines() for e in line.split(" | ")]
)
def test_a_traced_function_gives_the_same(expression):
    def f(x, y, v, s):
        return tl.sum(np.tanh(evaluated(expression, {"x": x, "y": y, "v": v, "s": s})[0]))

    for made in (f, tl.grad(f)):
        np.testing.assert_allclose(
            tl.jit(made)(X, Y, V, S).numpy(), made(*map(Tensor, (X, Y, V, S))).numpy(), rtol=1e-9
        )


def test_degenerate_matrices_say_so_by_numbers():
    with np.errstate(all="ignore"):
        one = np.eye(2)
        assert np.isnan(tl.grad(lambda a: np.linalg.eigh(a)[1][0, 0])(one).numpy()).any()
        assert np.isfinite(tl.grad(lambda a: np.linalg.eigvalsh(a).sum())(one).numpy()).all()
        assert np.isfinite(tl.grad(lambda a: np.linalg.svdvals(a).sum())(one).numpy()).all()
        assert np.isfinite(tl.grad(lambda a: np.linalg.pinv(a).sum())(one).numpy()).all()
        assert np.isnan(np.linalg.cholesky(Tensor(-one, requires_grad=True)).numpy()).all()
        batch = np.stack([one, -one, 4 * one])
        assert np.isnan(tl.linalg.cholesky(batch).numpy()).any((1, 2)).tolist() == [False, True, False]
        assert tl.linalg.slogdet(np.zeros((2, 2))).logabsdet.item() == -np.inf
        assert np.isnan(tl.linalg.eigh(np.full((2, 2), np.nan)).eigenvalues.numpy()).all()


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.sum(x, out=np.zeros(())), "sum: out is not taken"),
        (lambda x: np.gradient(x[0], x[0]), "gradient: a distance is taken as a constant"),
        (lambda x: np.quantile(x, x[0, 0]), "quantile: q is taken as a constant"),
        (lambda x: np.linalg.svd(x), "say full_matrices=False"),
        (lambda x: np.linalg.qr(x.T, "complete"), "qr: mode 'complete' of .4, 3. has no gradient"),
        (lambda x: np.pad(x, 1, "mean"), "pad: mode 'mean' does not only move elements"),
        (lambda x: np.einsum("ij,jk", x, x), "einsum: 'j' has size"),
        (lambda x: np.einsum("ij->ijk", x), "einsum: the result of"),
        (lambda x: np.tensordot(x, x, 1), "tensordot: .3, 4. along .1. and .3, 4. along .0. do not fit"),
        (lambda x: np.split(x, 2), "cannot be cut into 2 equal parts"),
        (lambda x: np.cross(x, x), "cross: vectors of 4 and 4 numbers, expected 3"),
        (lambda x: np.max(x, where=M), "max: initial is missing"),
        (lambda x: x[x], "is no integer, slice, None, Ellipsis, array of integers or mask"),
        (lambda x: np.linalg.norm(x, "max"), "norm: ord is 'max'"),
        (lambda x: np.linalg.norm(x[0], "fro"), "norm: 'fro' is a norm of matrices"),
        (lambda x: np.diff(x, -1), "diff: n is -1, expected 0 or more"),
    ],
)
def test_what_has_no_meaning_here_is_refused_in_words(f, message):
    with pytest.raises(LessonError, match=message):
        f(Tensor(X, requires_grad=True))


def test_answers_have_no_gradient_and_are_tensors_of_integers_or_truth_values():
    x = Tensor(X, requires_grad=True)
    for f in (np.argmax, np.nonzero, np.argsort, np.count_nonzero, np.all, np.any, np.isnan, np.signbit):
        for y in evaluated("f(x)", {"f": f, "x": x}):
            assert y.dtype.kind in "ib"
            assert not y.requires_grad
    assert tl.searchsorted(np.arange(4.0), 1.5).item() == 2


def test_put_along_axis_gives_another_tensor():
    at = np.argmax(X, axis=1)[:, None]
    expected = X.copy()
    np.put_along_axis(expected, at, 9.0, axis=1)
    np.testing.assert_array_equal(tl.put_along_axis(X, at, 9.0, axis=1).numpy(), expected)


def test_scipys_functions_of_matrices_are_those_of_scipy():
    np.testing.assert_allclose(tl.linalg.expm(S).numpy(), linalg.expm(S), rtol=1e-12)
    np.testing.assert_allclose(tl.linalg.expm(20 * S).numpy(), linalg.expm(20 * S), rtol=1e-10)
    for lower in (True, False):
        for trans in (0, 1):
            for unit in (True, False):
                named = {"lower": lower, "trans": trans, "unit_diagonal": unit}
                found = tl.linalg.solve_triangular(S, V, **named).numpy()
                np.testing.assert_allclose(found, linalg.solve_triangular(S, V, **named))
