"""Where the gradient vanishes, and what helps: three networks after one epoch, side by side, on one scale.

python examples/gradient_flow.py [FOLDER]     the README's first picture, in the present folder if none is named

    mlp8  fc1 1.4e-15  last 4.6e-06
    bn8   fc1 7.4e-05  last 1.6e-04
    res6  fc1 8.4e-04  last 9.5e-04
    gradient-flow.svg
"""

import sys
from pathlib import Path

from tinygrad_lesson import viz
from tinygrad_lesson.lesson import run

NETWORKS = {
    "mlp8": "mlp8: 8 plain layers",
    "bn8": "bn8: with batch normalization",
    "res6": "res6: with skip connections",
}

models = {}
for name, title in NETWORKS.items():
    models[title] = run.train(name, epochs=1).model
    first, *_, last = models[title].history.mean_abs_grad.values()
    print(f"{name:4}  fc1 {first[0]:.1e}  last {last[0]:.1e}")
drawing = viz.gradient_flow(models, shape={"data": (20, 4)}, scale=run.SCALE)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
print(viz.save(drawing, folder / "gradient-flow.svg").name)
