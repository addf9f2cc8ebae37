"""A pendulum over 10,000 steps: how hard a push brings it to stand upright at the end?

python examples/pendulum.py [folder]     one second; writes pendulum.png

    push 8.000  misses by +1.954
    push 6.937  misses by -0.039
    ...
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_lesson as tl

TIME, DRAG = 1.0, 0.3  # seconds, 1 / second


def swing(push, steps):
    """Angles in radians from hanging, after a push in radians per second; the step of Euler and Cromer."""
    dt = TIME / steps

    def step(state, _):
        angle, speed = state
        speed = speed - dt * (9.81 * tl.sin(angle) + DRAG * speed)
        return (angle + dt * speed, speed), angle + dt * speed

    return tl.scan(step, (tl.tensor(0.0), push), length=steps)[1]


def miss(push, steps):
    angles = swing(push, steps)
    return angles[-1] - np.pi, angles


def loss(push, steps):
    return miss(push, steps)[0] ** 2


def begin():
    return tl.tensor(8.0), (300,)


def main(folder=None, steps=10_000):
    push, _ = begin()
    for _ in range(4):
        (far, angles), slope = tl.value_and_grad(miss, has_aux=True)(push, steps)
        print(f"push {push:.3f}  misses by {far:+.3f}")
        plt.plot(np.linspace(0, TIME, 101)[1:], angles[steps // 100 - 1 :: steps // 100].numpy())
        push = push - far / slope
    plt.axhline(np.pi, color="k", linestyle=":")
    plt.gca().set(xlabel="time [s]", ylabel="angle [rad]")
    plt.savefig(f"{folder or tempfile.mkdtemp()}/pendulum.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
