"""This tree beside another checkout of it: the same work in fresh processes, interleaved; ratios of minima.

    git worktree add /tmp/before main~1
    python tests/benchmarks/beside.py /tmp/before
    python tests/benchmarks/beside.py /tmp/before -w mlp4:fit,eager:numpy -r 9

A ratio is the other tree's time divided by this one's: below 1, this tree is slower. The same code spreads by some
1.5 % by minima of nine processes, by 6 % by medians.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import workloads as wl

HERE = Path(__file__).resolve().parent
ADAPTER = HERE / "adapters" / "tinygrad_lesson_.py"
ALL = (
    "mlp4:fit,bn8:fit,res25:fit,dense6:fit,mlp4:step,bn8:step,res25:step,dense6:step,res1000:fit,mnist-mlp:fit,lenet:fit,resnet20:fit,vgg:fit,lstm:fit,"
    "mlp4:fit64,bn8:fit64,res25:fit64,chain:fit,predict:fit,eager:numpy,mlp4:numpy,bn8:numpy,res25:numpy,dense6:numpy,lenet:numpy,mnist-mlp:numpy"
)
SPEND = 0.25  # seconds of a run
RUNS = 4  # of one process


def seconds_of(tree: Path, w: str, mode: str) -> list[float]:
    """Least microseconds per step in a fresh process: of whole steps, and of their parts where the work tells them."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    env = os.environ | threads | {"PYTHONPATH": f"{tree}{os.pathsep}{HERE}"}
    process = subprocess.Popen(
        [sys.executable, str(ADAPTER), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env=env, text=True, cwd=tree,
    )  # fmt: skip

    def ask(**request: object) -> dict:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    with process:
        process.stdout.readline()
        told = ask(op="setup", w=w, k=wl.K[w])
        if "error" in told:
            raise SystemExit(f"{tree}: {w}:{mode}: {told['error']}")
        n = wl.K[w] * max(1, int(SPEND / ask(op="run", n=wl.K[w])["s"]))
        found = [ask(op="run", n=n) for _ in range(RUNS)]
        process.kill()
    parts = [[run["s"], *(run["extra"] or [])] for run in found]
    return [min(column) / n * 1e6 for column in zip(*parts, strict=True)]


def main() -> None:
    """Compare, and print a line for each kind of work."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("-w", default=ALL, help="work and mode, with commas between")
    parser.add_argument("-r", type=int, default=9, help="processes of each tree")
    given = parser.parse_args()
    trees = [given.other.resolve(), HERE.parents[1]]
    print(f"{'work':18}{'other':>12}{'this':>12}  us, ratio")
    for work in given.w.split(","):
        w, mode = work.split(":")
        times: list[list[list[float]]] = [[], []]
        for i in range(given.r):
            for side in (0, 1) if i % 2 else (1, 0):
                times[side].append(seconds_of(trees[side], w, mode))
        least = [[min(column) for column in zip(*rows, strict=True)] for rows in times]
        for part, (a, b) in enumerate(zip(*least, strict=True)):
            name = work + ("" if not part else (" forward", " backward")[part - 1])
            print(f"{name:18}{a:12.3f}{b:12.3f}  {a / b:.3f}", flush=True)


if __name__ == "__main__":
    main()
