"""Machine code: a kernel is compiled by LLVM when it is first wanted, and kept on disk for later processes.

A kernel is one function of a base address, a row of words and a step number. `address` gives the address of its code.
One engine holds all of it for as long as the process lives.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.files import sweep, write_whole
from tinygrad_lesson.locks import lock

CACHE = "TINYGRAD_LESSON_CACHE"  # environment variable that names a folder for machine code
DIGEST = 32  # bytes of a SHA-256, with which a file begins
LOCK = lock()  # LLVM works for one thread at a time
PASSES = (
    "sroa", "simplify_cfg", "instruction_combine", "loop_rotate", "new_gvn", "instruction_combine", "simplify_cfg",
)  # fmt: skip
NAMES: dict[int, str] = {}  # of kernels, by their addresses
BYTES, WORD = ir.IntType(8).as_pointer(), ir.IntType(64)
KERNEL = ir.FunctionType(ir.VoidType(), [BYTES, WORD.as_pointer(), WORD])


@functools.cache
def target() -> tuple[str, str, str]:
    """This processor: the triple of the system, the processor's name, and its features."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def target_machine() -> Any:
    """What compiles for this processor. An engine owns its own, and takes it along when it goes."""
    triple, processor, features = target()
    return llvm.Target.from_triple(triple).create_target_machine(cpu=processor, features=features, opt=2)


@functools.cache
def engine() -> Any:
    """The one engine, which keeps all code in memory."""
    target()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())


@functools.cache
def sources() -> str:
    """A digest of the code that emits kernels, and of what compiles it."""
    texts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    about = repr((llvmlite.__version__, llvm.llvm_version_info, target(), platform.machine()))
    return hashlib.sha256(b"\0".join([about.encode(), *texts])).hexdigest()


def text_of(name: str, make: Callable[..., None], parameters: tuple[Any, ...]) -> str:
    """The code of a kernel in LLVM's own language: `make(builder, base, words, step, *parameters)` emits its body."""
    module = ir.Module(name)
    function = ir.Function(module, KERNEL, name)
    builder = ir.IRBuilder(function.append_basic_block())
    make(builder, *function.args, *parameters)
    builder.ret_void()
    return str(module)


def compiled(text: str) -> bytes:
    """An object file, from LLVM's own language."""
    module, machine = llvm.parse_assembly(text), target_machine()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_function_pass_manager()
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return machine.emit_object(module)  # type: ignore[no-any-return]


@functools.cache
def address(make: Callable[..., None], *parameters: Any) -> int:
    """Where the code of a kernel begins: compiled now, or by an earlier process."""
    known = repr((sources(), make.__module__, make.__qualname__, parameters))
    name = f"k{hashlib.sha256(known.encode()).hexdigest()[:32]}"
    with LOCK:
        found = engine().get_function_address(name)  # another thread was faster
        found = found or loaded(name, lambda: text_of(name, make, parameters))
    NAMES[found] = " ".join([make.__name__, *[p for p in parameters[:1] if isinstance(p, str)]])
    return found


def address_of_text(text: str, name: str) -> int:
    """Where the code of a function begins that is written in LLVM's own language."""
    known = hashlib.sha256(f"{sources()}\0{text}".encode()).hexdigest()
    with LOCK:
        found = f"k{known[:32]}"
        code = engine().get_function_address(found)
        code = code or loaded(found, lambda: text.replace(f'@"{name}"', f'@"{found}"'))
    NAMES[code] = name
    return code


def loaded(name: str, text: Callable[[], str]) -> int:
    """The address of a function, from its object file or from its text."""
    code = kept(name)
    if code is None:
        code = compiled(text())
        keep(name, code)
    engine().add_object_file(llvm.ObjectFileRef.from_data(code))
    engine().finalize_object()
    return engine().get_function_address(name)  # type: ignore[no-any-return]


# What is kept on disk.


@functools.cache
def folder() -> Path | None:
    """Where machine code is kept; None where it cannot be, or not safely."""
    try:
        place = Path(os.environ.get(CACHE) or user_cache() / "tinygrad_lesson")
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if all(is_ours(os.stat(part), part == place) for part in (place, *place.resolve().parents)):
            return place
        why = "others may write there"
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody has a home
        why = getattr(error, "strerror", None) or str(error)
    say(f"machine code is compiled for this process alone: {why}; {CACHE} names a folder for it")
    return None


def user_cache() -> Path:
    """The folder for what programs may forget."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def is_ours(about: os.stat_result, own: bool = True) -> bool:
    """Whether nobody but this user, and the system's, can have changed what is there."""
    if not hasattr(os, "geteuid"):  # Windows: the folder is the user's
        return True
    shared = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (about.st_mode & stat.S_ISVTX and not own)
    return about.st_uid in ((os.geteuid(),) if own else (os.geteuid(), 0)) and not shared


def kept(name: str) -> bytes | None:
    """The object file of an earlier process, if it is whole."""
    place = folder()
    if place is None:
        return None
    try:
        with (place / name).open("rb") as file:
            if not is_ours(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    code = content[DIGEST:]
    if content[:DIGEST] == digest(name, code):
        return code
    say(f"machine code in {place} is damaged; compiling it again")
    return None


def keep(name: str, code: bytes) -> None:
    """Keep an object file; where that fails, it is compiled again next time."""
    place = folder()
    if place is not None:
        with contextlib.suppress(OSError, LessonError):
            tidied(place)
            write_whole(place / name, digest(name, code) + code, tidy=False)


@functools.cache
def tidied(place: Path) -> None:
    """Remove what killed processes have left there. Once: the folder may hold thousands of files."""
    sweep(place)


def digest(name: str, code: bytes) -> bytes:
    """What tells whether a file is whole, and the one of that name."""
    return hashlib.sha256(name.encode() + code).digest()


@functools.cache
def say(what: str) -> None:
    """Say it once."""
    print(f"tinygrad_lesson: {what}", file=sys.stderr)


# Running.


def run_tape(builder: Any, base: Any, words: Any, step: Any) -> None:
    """Carry out a tape: `words` hold its begin, its end, the first step, the one after the last, and 1 while it runs.

    An instruction is the address of a kernel, the number of words to the next instruction, and the kernel's words.
    """
    begin, end, first, last = [builder.load(builder.gep(words, [WORD(i)])) for i in range(4)]
    runs = builder.gep(words, [WORD(4)])
    builder.store_atomic(WORD(1), runs, "release", 8)
    head, body, after, done = [builder.append_basic_block() for _ in range(4)]
    entry = builder.block
    builder.cbranch(builder.icmp_unsigned("<", first, last), head, done)
    builder.position_at_end(head)
    number = builder.phi(WORD)
    number.add_incoming(first, entry)
    builder.cbranch(builder.icmp_unsigned("==", begin, end), after, body)
    builder.position_at_end(body)
    place = builder.phi(WORD)
    place.add_incoming(begin, head)
    row = builder.inttoptr(place, WORD.as_pointer())
    kernel = builder.inttoptr(builder.load(row), KERNEL.as_pointer())
    builder.call(kernel, [base, builder.gep(row, [WORD(2)]), number])
    length = builder.load(builder.gep(row, [WORD(1)]))
    following = builder.add(place, builder.mul(length, WORD(8)))
    place.add_incoming(following, body)
    builder.cbranch(builder.icmp_unsigned("==", following, end), after, body)
    builder.position_at_end(after)
    following = builder.add(number, WORD(1))
    number.add_incoming(following, after)
    builder.cbranch(builder.icmp_unsigned("<", following, last), head, done)
    builder.position_at_end(done)
    builder.store_atomic(WORD(0), runs, "release", 8)


@functools.cache
def runner() -> Callable[[int, int, int], None]:
    """The loop over tapes, as a function of the base address, the address of its five words, and 0."""
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return kind(address(run_tape))


@functools.cache
def works() -> bool:
    """Whether machine code runs here; where it does not, a line says so."""
    try:
        llvm.check_jit_execution()
        runner()
    except Exception as error:
        say(f"machine code does not run here ({error}); plans are run by NumPy")
        return False
    return True
