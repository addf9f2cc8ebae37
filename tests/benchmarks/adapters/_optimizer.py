"""Adam and SGD with momentum in NumPy, for the peers that bring none."""

import numpy as np
import workloads as wl


def make(w, arrays):
    """A function that takes the gradients and changes `arrays` in place."""
    means, squares = [[np.zeros_like(a) for a in arrays] for _ in range(2)]
    count = 0

    def adam(grads):
        nonlocal count
        count += 1
        c1, c2 = 1 - wl.B1**count, 1 - wl.B2**count
        for p, g, m, v in zip(arrays, grads, means, squares, strict=True):
            m *= wl.B1
            m += (1 - wl.B1) * g
            v *= wl.B2
            v += (1 - wl.B2) * g * g
            p -= (wl.LR_ADAM / c1) * m / (np.sqrt(v / c2) + wl.EPS)

    def sgd(grads):
        for p, g, m in zip(arrays, grads, means, strict=True):
            m *= wl.MOM
            m += g
            p -= wl.LR_SGD[w] * m

    return adam if w in wl.ADAM else sgd
