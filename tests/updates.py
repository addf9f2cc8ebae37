"""What MXNet's update operators must give, as its documentation writes them, in NumPy."""

from types import SimpleNamespace

import numpy as np


def rescaled(op, grad):
    """The gradient as an optimizer takes it."""
    grad = op.rescale_grad * grad
    return np.clip(grad, -op.clip_gradient, op.clip_gradient) if op.clip_gradient >= 0 else grad


def with_decay(op, w, grad):
    """The gradient with the decay, of which both are clipped."""
    grad = op.rescale_grad * grad + op.wd * w
    return np.clip(grad, -op.clip_gradient, op.clip_gradient) if op.clip_gradient >= 0 else grad


def sgd(op, w, grad):
    return w - op.lr * (rescaled(op, grad) + op.wd * w)


def momentum(op, w, grad, mom):
    v = op.momentum * mom - op.lr * (rescaled(op, grad) + op.wd * w)
    return w + v, v


def nesterov(op, w, grad, mom):
    """The step is taken from where the momentum leads."""
    _, v = momentum(op, w, grad, mom)
    return w - op.momentum * mom + (1 + op.momentum) * v, v


def of_copy(rule):
    """A rule for the last of the arrays in the place of the weight."""

    def oracle(op, w, grad, *rest):
        y = rule(op, rest[-1], grad, *rest[:-1])
        new, *moments = y if isinstance(y, tuple) else (y,)
        return new, *moments, new

    return oracle


def signum(op, w, grad, mom):
    mom = op.momentum * mom - (1 - op.momentum) * (rescaled(op, grad) + op.wd * w)
    return (1 - op.lr * op.wd_lh) * w + op.lr * np.sign(mom), mom


def adam(op, w, grad, mean, var):
    g = with_decay(op, w, grad)
    m, v = op.beta1 * mean + (1 - op.beta1) * g, op.beta2 * var + (1 - op.beta2) * g**2
    return w - op.lr * m / (v**0.5 + op.epsilon), m, v


def rmsprop(op, w, grad, n):
    g = with_decay(op, w, grad)
    n = op.gamma1 * n + (1 - op.gamma1) * g**2
    w = w - op.lr * g / (n + op.epsilon) ** 0.5
    return w if op.clip_weights < 0 else np.clip(w, -op.clip_weights, op.clip_weights), n


def rmspropalex(op, w, grad, n, g, delta):
    d = with_decay(op, w, grad)
    n, g = op.gamma1 * n + (1 - op.gamma1) * d**2, op.gamma1 * g + (1 - op.gamma1) * d
    delta = op.gamma2 * delta - op.lr * d / (n - g**2 + op.epsilon) ** 0.5
    w = w + delta
    return w if op.clip_weights < 0 else np.clip(w, -op.clip_weights, op.clip_weights), n, g, delta


def ftrl(op, w, grad, z, n):
    g = rescaled(op, grad)
    z = z + g - ((n + g**2) ** 0.5 - n**0.5) * w / op.lr
    n = n + g**2
    y = (np.sign(z) * op.lamda1 - z) / ((op.beta + n**0.5) / op.lr + op.wd)
    return y * (np.abs(z) > op.lamda1), z, n


def ftml(op, w, grad, d, v, z):
    g = with_decay(op, w, grad)
    v = op.beta2 * v + (1 - op.beta2) * g**2
    now = (1 - op.beta1**op.t) / op.lr * ((v / (1 - op.beta2**op.t)) ** 0.5 + op.epsilon)
    z = op.beta1 * z + (1 - op.beta1) * g - (now - op.beta1 * d) * w
    return -z / now, now, v, z


def adagrad(op, w, grad, history):
    g = rescaled(op, grad)
    history = history + g**2
    return w - op.lr * g / (history + op.epsilon) ** 0.5, history


def lamb1(op, w, grad, mean, var):
    g = rescaled(op, grad)
    mean, var = op.beta1 * mean + (1 - op.beta1) * g, op.beta2 * var + (1 - op.beta2) * g**2
    m, v = mean, var
    if op.bias_correction:
        m, v = mean / (1 - op.beta1**op.t), var / (1 - op.beta2**op.t)
    return m / (v**0.5 + op.epsilon) + op.wd * w, mean, var


def lamb2(op, w, g, r1, r2):
    low, high = op.lower_bound, op.upper_bound
    r1 = max(r1[0], low) if low >= 0 else r1[0]
    r1 = min(r1, high) if high >= 0 else r1
    return w - op.lr * (1 if r1 == 0 or r2[0] == 0 else r1 / r2[0]) * g


def mp_lamb1(op, w, grad, mean, var, w32):
    return (*lamb1(op, w32, grad, mean, var), w32)


def mp_lamb2(op, w, g, r1, r2, w32):
    y = lamb2(op, w32, g, r1, r2)
    return y, y


def adamw(op, w, grad, r, mean, var):
    r = r[0]
    if r == 0 or not np.isfinite(r):
        return w, mean, var
    g = r * grad
    g = np.clip(g, -op.clip_gradient, op.clip_gradient) if op.clip_gradient >= 0 else g
    mean = op.beta1 * mean + (1 - op.beta1) * g
    var = op.beta2 * var + (1 - op.beta2) * g**2
    return w - op.eta * (op.lr * mean / (np.sqrt(var) + op.epsilon) + op.wd * w), mean, var


def mp_adamw(op, w, grad, r, mean, var, w32):
    y = adamw(op, w32, grad, r, mean, var)
    return (*y, y[0])


def several(rule, each, preloaded=False):
    """A rule for one weight, for several of them: pairs first, then rates, then what each remembers."""

    def oracle(op, *data):
        n, data = op.num_weights, list(data)
        pairs, behind = data[: 2 * n], data[2 * n :]
        lrs, wds = (behind.pop(0), behind.pop(0)) if preloaded else (op.lrs, op.wds)
        results = []
        for i in range(n):
            one = SimpleNamespace(
                lr=lrs[i],
                wd=wds[i],
                momentum=getattr(op, "momentum", 0),
                rescale_grad=op.rescale_grad,
                clip_gradient=op.clip_gradient,
            )
            y = rule(one, *pairs[2 * i : 2 * i + 2], *behind[i * each : (i + 1) * each])
            results.append(y if isinstance(y, tuple) else (y,))
        return (*[y[0] for y in results], *[state for y in results for state in y[1:]])

    return oracle


ORACLES_OF_UPDATES = {
    "SgdUpdate": sgd,
    "SgdMomUpdate": momentum,
    "NagMomUpdate": nesterov,
    "MpSgdUpdate": of_copy(sgd),
    "MpSgdMomUpdate": of_copy(momentum),
    "MpNagMomUpdate": of_copy(nesterov),
    "SignsgdUpdate": lambda op, w, grad: (1 - op.lr * op.wd) * w - op.lr * np.sign(op.rescale_grad * grad),
    "SignumUpdate": signum,
    "MultiSgdUpdate": several(sgd, 0),
    "MultiSgdMomUpdate": several(momentum, 1),
    "MultiMpSgdUpdate": several(of_copy(sgd), 1),
    "MultiMpSgdMomUpdate": several(of_copy(momentum), 2),
    "PreloadedMultiSgdUpdate": several(sgd, 0, True),
    "PreloadedMultiSgdMomUpdate": several(momentum, 1, True),
    "PreloadedMultiMpSgdUpdate": several(of_copy(sgd), 1, True),
    "PreloadedMultiMpSgdMomUpdate": several(of_copy(momentum), 2, True),
    "MpLambUpdatePhase1": mp_lamb1,
    "MpLambUpdatePhase2": mp_lamb2,
    "AdamUpdate": adam,
    "RmspropUpdate": rmsprop,
    "RmspropalexUpdate": rmspropalex,
    "FtrlUpdate": ftrl,
    "FtmlUpdate": ftml,
    "SparseAdagradUpdate": adagrad,
    "AdamwUpdate": adamw,
    "MpAdamwUpdate": mp_adamw,
    "LambUpdatePhase1": lamb1,
    "LambUpdatePhase2": lamb2,
}
