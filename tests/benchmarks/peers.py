"""How fast this project is beside others: the same work, interleaved, one process per peer, one thread.

    make bench-peers                                        installs the peers into .peers/ and compares all
    python tests/benchmarks/peers.py -w mlp4,bn8            some of the workloads
    python tests/benchmarks/peers.py -p ours:fit,torch      some of the peers
    python tests/benchmarks/peers.py --list                 their names

Rounds go A B C A B C, so that what else the machine does falls on all alike. The times are medians (and minima)
in microseconds per step; `x ours:fit` is how many times as long a peer takes as the first one. `loss` is the loss
after the first block of steps: where it agrees, the work was the same (MXNet and we add Adam's epsilon at another
place than the others, which shows in the fourth digit). `peak` is the largest memory of the whole process, `grown`
how much of it came while it built and ran that block.
"""

import argparse
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import workloads as wl

HERE = Path(__file__).resolve().parent
VENVS = Path(os.environ.get("PEERS", HERE.parents[1] / ".peers"))
OWN = ""  # the environment that runs this file
REQUIREMENTS = {  # of each environment; wheels of PyTorch without a GPU are smaller, where pip finds them
    "torch": "torch==2.13.0 numpy",
    "jax": "jax==0.10.2 numpy",
    "mxnet": "mxnet==1.9.1 numpy==1.23.5 requests",
    "autograd": "autograd==1.9.1 numpy",
    "mygrad": "mygrad==2.5.0 numpy",
}
NEWEST = {"mxnet": "3.11"}  # the last Python with wheels of that NumPy
SETUP, RUN = 180, 120  # seconds after which a peer is given up
SPEND = 12  # seconds of a workload after which a slow peer sits out further rounds


class Peer(NamedTuple):
    """Where a peer lives, the file that speaks for it, and the mode that it is to run in."""

    venv: str
    adapter: str
    mode: str = ""

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return VENVS / self.venv / "bin" / "python" if self.venv else Path(sys.executable)


PEERS = {
    "ours:fit": Peer(OWN, "tinygrad_lesson_", "fit"),
    "ours:fit64": Peer(OWN, "tinygrad_lesson_", "fit64"),
    "ours:step": Peer(OWN, "tinygrad_lesson_", "step"),
    "ours:numpy": Peer(OWN, "tinygrad_lesson_", "numpy"),
    "torch": Peer("torch", "torch_", "eager"),
    "torch:fused": Peer("torch", "torch_", "fused"),
    "jax:jit": Peer("jax", "jax_", "jit"),
    "jax:scan": Peer("jax", "jax_", "scan"),
    "mxnet": Peer("mxnet", "mxnet_"),
    "autograd": Peer("autograd", "autograd_"),
    "mygrad": Peer("mygrad", "mygrad_"),
    "C": Peer(OWN, "c_"),
}


class Process:
    """A peer at work on one workload."""

    def __init__(self, name: str) -> None:
        peer = PEERS[name]
        threads = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        env = os.environ | {f"{library}_NUM_THREADS": "1" for library in threads}
        env |= {
            "JAX_PLATFORMS": "cpu",
            "MXNET_CPU_WORKER_NTHREADS": "1",
            "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE}",
        }
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        self.name, self.errors = name, tempfile.TemporaryFile("w+")  # noqa: SIM115
        script = str(HERE / "adapters" / f"{peer.adapter}.py")
        command = [str(peer.python), script, *filter(None, [peer.mode])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=env, text=True
        )
        self.times: list[float] = []
        self.extra: list[list[float]] = []
        self.facts: dict[str, Any] = {}
        self.n = 0

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next line of the process; an error if there is none."""
        stream = self.process.stdout
        ready, _, _ = select.select([stream], [], [], seconds)
        line = stream.readline() if ready and stream else ""
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        self.errors.seek(0)
        last = (self.errors.read().strip().splitlines() or ["it ended"])[-1]
        return {"error": last if ready else f"no answer within {seconds} s"}

    def ask(self, seconds: float, **request: Any) -> dict[str, Any]:
        """The answer to a request."""
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # the answer says why it has ended
        return self.answer(seconds)

    def setup(self, w: str, part: float) -> dict[str, Any]:
        """Build, run the first block, and settle how many steps take `part` seconds; the answer."""
        found = self.ask(SETUP, op="setup", w=w, k=wl.K[w])
        if "loss" in found:
            self.facts |= found
            found = self.ask(RUN, op="run", n=wl.K[w])
        if "s" in found:
            self.n = wl.K[w] * max(1, min(4000, int(part / found["s"])))
        return found

    def measure(self) -> dict[str, Any]:
        """One round."""
        found = self.ask(RUN, op="run", n=self.n)
        if "s" in found:
            self.times.append(found["s"] / self.n * 1e6)
            if found["extra"]:
                self.extra.append([s / self.n * 1e6 / (2 * wl.CHAIN) for s in found["extra"]])
        return found

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def result(self) -> dict[str, Any]:
        """What was found out."""
        figures = {"median": statistics.median(self.times), "min": min(self.times)}
        if self.extra:
            forward, backward = zip(*self.extra, strict=True)
            figures |= {"forward": statistics.median(forward), "backward": statistics.median(backward)}
        return self.facts | figures


def compare(w: str, names: list[str], rounds: int, part: float) -> dict[str, dict[str, Any]]:
    """Figures of every peer that can do the workload, by name."""
    print(f"\n{w}: {wl.TITLE[w]}", flush=True)
    processes = [Process(name) for name in names]
    try:
        live = []
        for p in processes:
            p.facts = p.answer(SETUP)
            if "error" not in p.facts:
                found = p.setup(w, part)
            wrong = p.facts.get("error") or found.get("error")
            if wrong:
                print(f"  {p.name:12} FAILED: {wrong}", flush=True)
            elif p.n:
                live.append(p)
        for _ in range(rounds):
            for p in list(live):
                if len(p.times) < 2 or sum(p.times) * p.n < SPEND * 1e6:
                    wrong = p.measure().get("error")
                    if wrong:
                        print(f"  {p.name:12} FAILED: {wrong}", flush=True)
                        live.remove(p)
        results = {p.name: p.result() for p in live if p.times}
    finally:
        for p in processes:
            p.stop()
    show(results)
    return results


def show(results: dict[str, dict[str, Any]]) -> None:
    """A line for each peer."""
    if not results:
        return
    first, base = next((name, r["median"]) for name, r in results.items())
    titles = ("build s", "first s", "peak MB")
    print(
        f"  {'':12}{'median us':>12}{'min us':>12}{'x ' + first:>14}",
        *(f"{t:>8}" for t in titles),
        "  grown  loss",
    )
    for name, r in results.items():
        more = (
            f"   per op: forward {r['forward']:.2f}, backward {r['backward']:.2f} us"
            if "forward" in r
            else ""
        )
        print(
            f"  {name:12}{r['median']:12.2f}{r['min']:12.2f}{r['median'] / base:14.2f}"
            f"{r['build_s']:9.2f}{r['first_s']:9.2f}{r['peak_mb']:9.0f}{r['grown_mb']:8.0f}  {r['loss']:.6g}{more}",
            flush=True,
        )


def table(results: dict[str, dict[str, dict[str, Any]]], names: list[str]) -> str:
    """Medians of all in Markdown: a row for each workload."""
    rows = {w: {name: r["median"] for name, r in found.items()} for w, found in results.items()}
    return markdown("us per step", rows, names)


def growth(results: dict[str, dict[str, dict[str, Any]]], names: list[str]) -> str:
    """What a layer costs as networks get deeper, in Markdown; empty if no two depths were measured."""
    depths = [w for w in wl.DEPTHS if w in results]
    if len(depths) < 2:
        return ""
    rows = {w: {name: r["median"] / wl.depth(w) for name, r in results[w].items()} for w in depths}
    return markdown("us per step and layer", rows, names)


def markdown(title: str, rows: dict[str, dict[str, float]], names: list[str]) -> str:
    """Numbers under names, a row each."""
    lines = [f"| {title} | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for w, row in rows.items():
        cells = (f"{row[name]:,.{0 if row[name] >= 100 else 2}f}" if name in row else "-" for name in names)
        lines.append(f"| {w} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def install(names: list[str]) -> None:
    """An environment for every peer; one that fails is reported and left out."""
    for venv in dict.fromkeys(PEERS[name].venv for name in names if PEERS[name].venv):
        folder, done = VENVS / venv, VENVS / venv / "installed"
        if done.exists() and done.read_text() == REQUIREMENTS[venv]:
            continue
        python = shutil.which(f"python{NEWEST[venv]}") if venv in NEWEST else sys.executable
        print(f"{venv}: installing {REQUIREMENTS[venv]}", flush=True)
        try:
            if python is None:
                raise OSError(f"there is no python{NEWEST[venv]}")
            subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *REQUIREMENTS[venv].split()], check=True)
            done.write_text(REQUIREMENTS[venv])
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{venv}: FAILED, and is left out: {error}", flush=True)


def chosen(text: str, known: dict[str, Any], what: str) -> list[str]:
    """Names in a list with commas, all if it is empty."""
    names = [name for name in text.split(",") if name] or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"there is no {what} {name!r}; known: {', '.join(known)}")
    return names


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-p", "--peers", default="", help="names with commas between; default all")
    parser.add_argument("-w", "--workloads", default="", help="names with commas between; default all")
    parser.add_argument("-r", "--rounds", type=int, default=9)
    parser.add_argument("-s", "--slice", type=float, default=0.1, help="seconds of a measurement")
    parser.add_argument("-o", "--out", type=Path, help="a file for all figures, JSON")
    parser.add_argument("--install", action="store_true", help="install the peers first")
    parser.add_argument("--list", action="store_true", help="show what there is")
    options = parser.parse_args()
    names, works = chosen(options.peers, PEERS, "peer"), chosen(options.workloads, wl.TITLE, "workload")
    if options.list:
        print("peers:", ", ".join(PEERS))
        print(*(f"{w:12}{title}" for w, title in wl.TITLE.items()), sep="\n")
        return
    if options.install:
        install(names)
    absent = {PEERS[name].venv for name in names if not PEERS[name].python.exists()}
    if absent:
        print(f"absent: {', '.join(sorted(absent))} (make bench-peers installs them in {VENVS})")
    names = [name for name in names if PEERS[name].venv not in absent]
    if hasattr(os, "sched_setaffinity"):  # all on one core; XLA counts its threads by this
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began, results = time.strftime("%F %T"), {}
    for w in works:
        results[w] = compare(w, names, options.rounds, options.slice)
        if options.out:
            options.out.write_text(json.dumps({"time": began, "results": results}, indent=1))
    print("\n" + table(results, names) + "\n\n" + growth(results, names))
    versions = {name: r["version"] for found in results.values() for name, r in found.items()}
    print("; ".join(f"{name}: {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
