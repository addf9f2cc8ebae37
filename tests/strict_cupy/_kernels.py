"""CUDA C kernels on the processor: the host's C++ compiler, and a fiber for each thread of a block.

Blocks run one after the other, the threads of one up to the next barrier in turn. Each launch is done twice, with blocks
and threads in opposite orders: where results differ, a barrier is missing, and RaceError tells so.
"""

import ctypes
import hashlib
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from strict_cupy import _device
from strict_cupy._array import alive, ndarray
from strict_cupy._device import counts

SHIM = r"""
#include <cmath>
#include <math.h>
#include <cstdint>
#include <cstring>
#include <algorithm>
#include <functional>
#include <vector>
#include <setjmp.h>
#include <ucontext.h>
using std::min; using std::max;
struct dim3 { unsigned x, y, z; };
struct float2 { float x, y; }; struct float4 { float x, y, z, w; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;
#define __global__
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __shared__ static
#define __constant__ static
#define __launch_bounds__(...)
struct Fiber { ucontext_t begin; jmp_buf at_barrier; std::vector<char> stack; dim3 at; bool begun, done; };
static std::vector<Fiber> fibers; static jmp_buf scheduler; static int current; static std::function<void()> body;
// A switch by _setjmp makes no system call, swapcontext two; so each fiber begins once, and waits for the next launch.
__attribute__((noinline)) static void __syncthreads() {
  if (!_setjmp(fibers[current].at_barrier)) _longjmp(scheduler, 1); }
static void entry() { for (;;) { body(); fibers[current].done = true; __syncthreads(); } }
__attribute__((noinline)) static void resume(Fiber &g) {
  if (_setjmp(scheduler)) return;
  if (g.begun) _longjmp(g.at_barrier, 1);
  g.begun = true; g.stack.resize(1 << 16); getcontext(&g.begin); g.begin.uc_link = nullptr;
  g.begin.uc_stack.ss_sp = g.stack.data(); g.begin.uc_stack.ss_size = g.stack.size();
  makecontext(&g.begin, entry, 0); setcontext(&g.begin); }
static void __syncwarp(unsigned = 0xffffffffu) { __syncthreads(); }
template <class T> static T exchanged(T v, int from) {
  static T all[1024]; all[current] = v; __syncthreads(); T r = all[from]; __syncthreads(); return r; }
template <class T> static T __shfl_down_sync(unsigned, T v, unsigned d, int w = 32) {
  return exchanged(v, int(current % w + d) < w ? current + int(d) : current); }
template <class T> static T __shfl_xor_sync(unsigned, T v, int d, int w = 32) { return exchanged(v, current ^ d); }
template <class T> static T __shfl_sync(unsigned, T v, int lane, int w = 32) { return exchanged(v, current / w * w + lane % w); }
template <class T> static T atomicAdd(T *p, T v) { T old = *p; *p += v; return old; }
template <class T> static T __ldg(const T *p) { return *p; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
static inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
static void launch(dim3 grid, dim3 block, bool backwards, std::function<void()> f) {
  int n = block.x * block.y * block.z; body = f; gridDim = grid; blockDim = block;
  if (int(fibers.size()) < n) fibers.resize(n);
  for (unsigned k = 0, blocks = grid.x * grid.y * grid.z; k < blocks; k++) {
    unsigned at = backwards ? blocks - 1 - k : k;
    blockIdx = {at % grid.x, at / grid.x % grid.y, at / (grid.x * grid.y)};
    for (int i = 0; i < n; i++) {
      fibers[i].done = false; fibers[i].at = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    }
    for (int left = n; left;) { left = 0;
      for (int k = 0; k < n; k++) { int i = backwards ? n - 1 - k : k;
        if (!fibers[i].done) { current = i; threadIdx = fibers[i].at; resume(fibers[i]); left += !fibers[i].done; } } }
  }
}
"""
KINDS = {
    "float": ctypes.c_float, "double": ctypes.c_double, "int": ctypes.c_int32, "unsigned int": ctypes.c_uint32,
    "unsigned": ctypes.c_uint32, "long long": ctypes.c_int64, "unsigned long long": ctypes.c_uint64,
    "size_t": ctypes.c_uint64, "bool": ctypes.c_bool, "char": ctypes.c_int8,
}  # fmt: skip
SCALARS = {bool: "?", int: "q", float: "d"}  # what CuPy makes of Python's numbers


class RaceError(AssertionError):
    """What a kernel computes depends on the order of its threads."""


class CompileException(Exception):  # noqa: N818
    """The compiler refused the source."""


class RawModule:
    """CUDA C source; `get_function` gives its kernels."""

    def __init__(self, *, code: str, options: Any = (), backend: str = "nvrtc", **named: Any) -> None:
        self.code, self.library = code, None
        self.parameters = {
            name: [part.strip() for part in text.split(",") if part.strip()]
            for name, text in re.findall(
                r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)", code
            )
        }

    def compile(self, log_stream: Any = None) -> None:
        """Compile now."""
        if self.library is not None:
            return
        source = f"// 4\n{SHIM}{self.code}"
        for name, parameters in self.parameters.items():
            words = ", ".join(p.split()[-1].lstrip("*") for p in parameters)
            listed = "".join(f", {p}" for p in parameters)
            source += f'\nextern "C" void run_{name}(dim3 *g, dim3 *b, int back{listed}) {{ launch(*g, *b, back, [=] {{ {name}({words}); }}); }}'
        stem = Path(tempfile.gettempdir()) / f"strict_cupy_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
        if not stem.with_suffix(".so").exists():
            stem.with_suffix(".cpp").write_text(source)
            done = subprocess.run(
                ["g++", "-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-w", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-o", f"{stem}.part", f"{stem}.cpp"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise CompileException(done.stderr[:2000])
            Path(f"{stem}.part").rename(stem.with_suffix(".so"))
        self.library = ctypes.CDLL(str(stem.with_suffix(".so")))

    def get_function(self, name: str) -> "RawKernel":
        """One of its kernels."""
        return RawKernel(self.code, name, module=self)


class RawKernel:
    """A kernel of CUDA C: ``kernel(grid, block, arguments)``."""

    def __init__(self, code: str, name: str, options: Any = (), *, module: Any = None, **named: Any) -> None:
        self.module, self.name = module or RawModule(code=code), name

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        self.module.compile()
        wanted = self.module.parameters[self.name]
        if len(args) != len(wanted):
            raise ValueError(f"{self.name} takes {len(wanted)} arguments, {len(args)} given")
        values = [self.argument(x, p) for x, p in zip(args, wanted, strict=True)]
        arrays = [x._held for x in alive()]  # a kernel may be given addresses too
        counts.launches += 1

        def run() -> None:
            before = [a.copy() for a in arrays]
            self.once(grid, block, values, 0)
            found = [a.copy() for a in arrays]
            for a, old in zip(arrays, before, strict=True):
                a[...] = old
            self.once(grid, block, values, 1)
            if any(a.tobytes() != b.tobytes() for a, b in zip(arrays, found, strict=True)):
                raise RaceError(f"{self.name}: the result depends on the order of the threads")

        notes = _device.capturing()
        run() if notes is None else notes.append(run)

    def once(self, grid: Any, block: Any, values: Any, backwards: int) -> None:
        """One launch."""
        size = ctypes.c_uint32 * 3
        shapes = [size(*[*s, 1, 1][:3]) for s in (grid, block)]
        getattr(self.module.library, f"run_{self.name}")(*map(ctypes.byref, shapes), backwards, *values)

    def argument(self, x: Any, parameter: str) -> Any:
        """One argument, whose type must be that of the parameter: nothing is converted on a card either."""
        kind = re.sub(
            r"\b(const|__restrict__)\b",
            "",
            parameter.rpartition(" ")[0] if "*" not in parameter else parameter,
        )
        if "*" in kind:
            if not isinstance(x, ndarray):
                raise TypeError(f"{self.name}: {parameter} is given {type(x)}")
            element = KINDS.get(" ".join(kind.split("*")[0].split()))
            if element is not None and np.dtype(element) != x.dtype and x.dtype != bool:
                raise TypeError(f"{self.name}: {parameter} is given an array of {x.dtype}")
            return ctypes.c_void_p(x._held.ctypes.data)
        wanted = KINDS[" ".join(kind.split())]
        given = x.dtype if isinstance(x, np.generic) else np.dtype(SCALARS[type(x)])
        if given.itemsize != ctypes.sizeof(wanted) or (given.kind == "f") != (np.dtype(wanted).kind == "f"):
            raise TypeError(f"{self.name}: {parameter} is given a {given}; pass a NumPy scalar of its type")
        return wanted(x.item() if isinstance(x, np.generic) else x)
