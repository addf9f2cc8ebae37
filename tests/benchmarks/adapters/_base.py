"""The line protocol between the driver and the process of one peer: JSON over stdin and stdout."""

import json
import os
import resource
import sys
import time
import traceback


def memory(key="VmRSS"):
    """Megabytes in use now; with "VmHWM", the most there ever were."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))
    except OSError:  # no Linux: the maximum, in bytes or kilobytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1 << (20 if sys.platform == "darwin" else 10)
        )


def forget_peak():
    """Let the maximum begin anew, where the system can: loading the peer's code is not the work."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def serve(make, version):
    """Answer requests until there are no more.

    ``make(workload)`` gives an object with ``step(n)``, n whole steps, finished when it returns, and ``loss()``;
    it raises NotImplementedError for what the peer cannot do.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints is no answer

    def send(**facts):
        out.write(json.dumps(facts) + "\n")
        out.flush()

    send(version=version)
    work = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "setup":
                forget_peak()
                before, t0 = memory(), time.perf_counter()
                work = make(request["w"])
                t1 = time.perf_counter()
                work.step(request["k"])  # what is compiled, is compiled here
                t2 = time.perf_counter()
                peak = memory("VmHWM")
                facts = {"build_s": t1 - t0, "first_s": t2 - t1, "peak_mb": peak, "grown_mb": peak - before}
                send(loss=float(work.loss()), **facts)
            elif request["op"] == "run":
                t0 = time.perf_counter()
                extra = work.step(request["n"])
                send(s=time.perf_counter() - t0, extra=extra)
        except NotImplementedError:
            send(skip=1)
        except Exception as error:
            traceback.print_exc()
            send(error=f"{type(error).__name__}: {str(error)[:300]}")
