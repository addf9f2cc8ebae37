"""Groups of rows as kernels in CUDA C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.plan.trace import DRAW
from tinygrad_lesson.run.counted import EXPRESSIONS
from tinygrad_lesson.run.cuda import INNER, OPERATIONS, TYPES, Part, merged, substituted
from tinygrad_lesson.run.groups import Group, Key, Launch, Member, key_of

THREADS = 256  # of a block; a power of two
WARP = 32  # threads that read neighbours together
LARGE = 1 << 30
TOGETHER = """
    __syncthreads();
    {mine}[t] = {value};
    __syncthreads();
    for (int far = {lanes} / 2; far; far /= 2) {{
      if (lane < far) {{ const {kind} v = {mine}[t], x = {mine}[t + far * {columns}]; {mine}[t] = {both}; }}
      __syncthreads();
    }}
    {value} = {mine}[t % {columns}];
"""


class Names:
    """The arrays of a kernel, each with the parameter that it is given as."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[int, str], tuple[str, Any]] = {}

    def of(self, x: Part) -> str:
        """The parameter for an operand."""
        key = x.array.data.ptr, x.array.dtype.name
        return self.arrays.setdefault(key, (f"p{len(self.arrays)}", x.array))[0]

    def parameters(self) -> str:
        """The list of parameters."""
        return ", ".join(f"{TYPES[kind]}* {name}" for (_, kind), (name, _) in self.arrays.items())


class Section:
    """What the blocks of one group do, as text."""

    def __init__(self, group: Group, names: Names) -> None:
        self.group, self.names, self.lines = group, names, [""]
        shape, axes = group.shape, group.axes
        self.kept = [a for a in range(len(shape)) if a not in axes]
        self.rows = math.prod(shape[a] for a in self.kept)
        operands = [x for m in group.members for x in m.operands if isinstance(x, Part)]
        self.operands = {key_of(x): x for x in operands}
        self.outer, self.along_outer = self.axes_of(self.kept)
        self.inner, self.along_inner = self.axes_of(axes)
        self.columns = self.across()
        self.lanes = THREADS // self.columns
        self.chunk = -(-group.inner // group.parts)
        self.blocks = -(-self.rows // self.columns) * group.parts
        self.known: dict[Key, str] = {}  # what lies in a register, in this loop or behind all
        self.settled: dict[Key, str] = {}
        self.count = 0

    def axes_of(self, axes: Sequence[int]) -> tuple[list[int], dict[Key, list[int]]]:
        """The sizes of as few of these axes as will do, and for each operand its strides in elements."""
        parts = list(self.operands.values())
        for x in parts:
            assert not any(s % x.array.dtype.itemsize for s in x.strides)
        strides = [[x.strides[a] // x.array.dtype.itemsize for a in axes] for x in parts]
        sizes = [self.group.shape[a] for a in axes]
        if any(m.box for m in self.group.members):
            return sizes, dict(zip(self.operands, strides, strict=True))
        sizes, found = merged(sizes, strides)
        return sizes, dict(zip(self.operands, found, strict=True))

    def across(self) -> int:
        """Threads of a block beside each other along the kept axes; the others go along the inner ones."""
        n = self.group.inner
        if n <= 16:
            return THREADS
        steps = [(self.along_outer[k][-1:], self.along_inner[k][-1:]) for k in self.operands]
        near = sum(outer == [1] for outer, _ in steps) > sum(inner == [1] for _, inner in steps)
        return min(WARP, THREADS // 2) if near else 1

    # Text.

    def add(self, line: str) -> None:
        """One more line."""
        self.lines.append(line)

    def name(self) -> str:
        """A new name."""
        self.count += 1
        return f"v{self.count}"

    def text(self) -> str:
        """All of it."""
        word = "long long" if self.far() else "int"
        parts = self.group.parts
        number = f"(block / {parts})" if parts > 1 else "block"
        self.add(f"const {word} row = ({word}){number} * {self.columns} + t % {self.columns};")
        self.add(f"const int lane = t / {self.columns}; const bool here = row < {self.rows};")
        self.add(f"const int part = block % {parts};" if parts > 1 else "")
        self.coordinates("o", self.outer, "row", word)
        for phase in range(self.group.phase + 1):
            self.loop([m for m in self.group.members if m.phase == phase], phase, word)
        return "\n    ".join(line for line in self.lines if line)

    def far(self) -> bool:
        """Whether places must be counted in 64 bits."""
        spans = [
            sum(n * abs(s) for n, s in zip(self.group.shape, x.strides, strict=True))
            for x in self.operands.values()
        ]
        return max(math.prod(self.group.shape), *spans) >= LARGE

    def coordinates(self, letter: str, sizes: Sequence[int], whole: str, word: str) -> None:
        """Where a place is along each axis."""
        for a, n in enumerate(sizes):
            below = math.prod(sizes[a + 1 :])
            at = whole if below == 1 else f"{whole} / {below}"
            self.add(f"const {word} {letter}{a} = {at if a == 0 else f'{at} % {n}'};")

    def address(self, x: Part, box: Sequence[tuple[int, int, int]] = ()) -> str:
        """Where an operand lies."""
        return f"{self.names.of(x)}[{self.offset(x, box)}]"

    def offset(self, x: Part, box: Sequence[tuple[int, int, int]] = ()) -> str:
        """How many elements behind the first one of its array."""
        key, terms = key_of(x), []
        for letter, strides in (("o", self.along_outer[key]), ("i", self.along_inner[key])):
            for a, s in enumerate(strides):
                at = f"{letter}{a}"
                if box:
                    first, step, _ = box[a]
                    at = f"({at} - {first})" + (f" / {step}" if step > 1 else "") if first or step > 1 else at
                terms += [at if s == 1 else f"{at} * {s}"] if s else []
        if x.step > 0:
            now = "step % rounds" if x.rounds else "step"
            terms.append(f"{now} * {x.step // x.array.dtype.itemsize}LL")
        elif x.rounds:
            terms.append("part")
        return " + ".join(terms) or "0"

    def value(self, x: Any, member: Member, *, bare: bool = False) -> str:
        """An operand as an expression, of the type in which the member computes, or `bare` of its own."""
        kind = TYPES[member.row.kind.name]
        if not isinstance(x, Part):
            return number(x) if bare else f"({kind}){number(x)}"
        key = key_of(x)
        found = self.known.get(key) or self.settled.get(key)
        if found is None and member.box:
            found = self.address(x, member.box)
        elif found is None:
            found = self.name()
            self.add(f"const {TYPES[x.array.dtype.name]} {found} = {self.address(x)};")
            if member.where != "kept":
                self.known[key] = found
        return found if bare or x.array.dtype == member.row.kind else f"({kind}){found}"

    def computed(self, member: Member) -> str:
        """What a member computes, as an expression."""
        row, sources = member.row, member.operands[1:]
        exact = {"where": [0], DRAW: [0, 1, 2]}.get(row.name, ())  # operands that are not rounded
        given = [self.value(x, member, bare=i in exact) for i, x in enumerate(sources)]
        words = {"T": TYPES[row.kind.name], **{k: f"({x})" for k, x in zip("xyz", given, strict=False)}}
        if row.name == DRAW:
            words |= {"at": self.offset(member.target), "size": str(math.prod(row.shape))}
        return substituted((OPERATIONS | EXPRESSIONS)[row.name], words)

    def loop(self, members: Sequence[Member], phase: int, word: str) -> None:
        """One loop along the inner axes, then what comes behind it."""
        inside = [m for m in members if m.where != "kept"]
        sums = {id(m): self.name() for m in inside if m.where == "into"}
        for m in inside:
            if id(m) in sums:
                kind = TYPES[m.row.kind.name]
                start = substituted(INNER[m.row.name][0], {"T": kind})
                self.add(f"{kind} {sums[id(m)]} = ({kind}){start};")
        n, parts, lanes = self.group.inner, self.group.parts, self.lanes
        self.known = {}
        if self.group.axes:
            chunk = f"({word}){self.chunk}"
            end = f"min(({word}){n}, (part + 1) * {chunk})" if parts > 1 else str(n)
            first = f"part * {chunk} + lane" if parts > 1 else "lane"
            self.add(f"if (here) for ({word} j = {first}; j < {end}; j += {lanes}) {{")
        else:
            self.add("if (here) {")
        self.coordinates("i", self.inner, "j", word)
        for m in inside:
            self.inside(m, sums.get(id(m), ""))
        self.store([m for m in inside if m.where == "each"], phase)
        self.add("}")
        self.known = {}
        for m in inside:
            if id(m) in sums:
                self.together(m, sums[id(m)])
        for m in members:
            if m.where == "kept":
                self.behind(m)

    def inside(self, m: Member, total: str) -> None:
        """One row within the loop."""
        if total:
            x, *more = [self.value(x, m) for x in m.operands[1:]]
            words = {"v": total, "x": f"({x})", **({"y": f"({more[0]})"} if more else {})}
            self.add(f"{total} = {substituted(INNER[m.row.name][1], words)};")
            return
        key, kind = key_of(m.target), TYPES[m.target.array.dtype.name]
        if m.box:
            tests = [box_test(f"o{a}", *b, self.group.shape[a]) for a, b in enumerate(m.box)]
            self.add(f"if ({' && '.join(t for t in tests if t) or 'true'}) {{")
            self.add(f"{self.known[key]} = ({kind})({self.computed(m)});")
            self.add("}")
            return
        made, text = self.name(), self.computed(m)
        self.add(f"{kind} {made} = ({kind})({text});")
        self.known[key] = made

    def store(self, members: Sequence[Member], phase: int) -> None:
        """Write what is wanted later."""
        again = {key_of(x) for m in self.group.members if m.phase > phase for x in m.sources}
        for key, m in {key_of(m.target): m for m in members}.items():
            if key in self.group.stored or key in again:
                self.add(f"{self.address(m.target)} = {self.known[key]};")

    def together(self, m: Member, total: str) -> None:
        """What all lanes have found for their row, put together, and known to each of them."""
        kind = TYPES[m.row.kind.name]
        if self.lanes > 1:
            mine, both = f"(({kind}*)shared)", substituted(INNER[m.row.name][2], {"T": kind})
            self.add(
                TOGETHER.format(
                    mine=mine, value=total, lanes=self.lanes, columns=self.columns, kind=kind, both=both
                )
            )
        made = TYPES[m.target.array.dtype.name]
        settled = self.name()
        self.add(f"const {made} {settled} = ({made}){total};")
        self.keep(m, settled)

    def behind(self, m: Member) -> None:
        """One row behind the loop: every lane computes it, the first one writes it."""
        made, kind = self.name(), TYPES[m.target.array.dtype.name]
        self.add(f"{kind} {made} = 0;")
        self.add("if (here) {")
        self.add(f"{made} = ({kind})({self.computed(m)});")
        self.add("}")
        self.keep(m, made)

    def keep(self, m: Member, made: str) -> None:
        """Know a number of the row from now on, and write it if others read it."""
        self.settled[key_of(m.target)] = made
        if key_of(m.target) in self.group.stored:
            self.add(f"if (here && lane == 0) {self.address(m.target)} = {made};")


def box_test(at: str, first: int, step: int, count: int, size: int) -> str:
    """Whether a place lies in a slice of an axis."""
    last = first + (count - 1) * step
    tests = [f"{at} >= {first}"] * (first > 0) + [f"{at} <= {last}"] * (last < size - 1)
    return " && ".join([*tests, *[f"({at} - {first}) % {step} == 0"] * (step > 1)])


def number(x: Any) -> str:
    """A number in CUDA C."""
    if isinstance(x, bool | np.bool):
        return str(int(x))
    if isinstance(x, int | np.integer):
        return f"({int(x)}LL)"
    x = float(x)
    if math.isnan(x):
        return "__int_as_float(0x7fc00000)"
    if math.isinf(x):
        return f"({'-' * (x < 0)}__int_as_float(0x7f800000))"
    return f"({x!r})"


def kernel(name: str, launch: Launch) -> tuple[str, int, list[Any]]:
    """The text of a launch, how many blocks it takes, and the arrays that it is given behind the counts."""
    names, first, branches = Names(), 0, []
    for group in launch.groups:
        section = Section(group, names)
        body = section.text()
        branches.append(
            f"if (blockIdx.x < {first + section.blocks}) {{\n"
            f"    const int block = blockIdx.x - {first};\n    {body}\n  }}"
        )
        first += section.blocks
    parameters = ", ".join(["long long* counts", *([names.parameters()] if names.arrays else [])])
    head = f'extern "C" __global__ void {name}({parameters}) {{\n  __shared__ double shared[{THREADS}];\n'
    head += "  const int t = threadIdx.x; const long long step = counts[0], rounds = counts[1];\n  "
    return head + " else ".join(branches) + "\n}\n", first, [x for _, x in names.arrays.values()]
