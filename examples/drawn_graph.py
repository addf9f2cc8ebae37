"""A small residual network as a picture: a box per op, the shapes on the arrows.

python examples/drawn_graph.py [FOLDER]     the present folder if none is named

    data (20, 4) -> answer (20, 3)
    residual.svg
"""

import sys
from pathlib import Path

from tinygrad_lesson import sym, viz


def network(blocks):
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=10, name="fc1")
    for i in range(2, blocks + 2):
        h = sym.FullyConnected(x, num_hidden=10, name=f"fc{i}")
        x = sym.broadcast_plus(sym.Activation(h, act_type="relu", name=f"relu{i}"), x, name=f"plus{i}")
    return sym.softmax(sym.FullyConnected(x, num_hidden=3, name="fc_final"), axis=1, name="answer")


symbol = network(blocks=2)
drawing = viz.plot_network(symbol, title="residual", shape={"data": (20, 4)})
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
path = viz.save(drawing, folder / "residual.svg")
print(f"data (20, 4) -> {symbol.name} {symbol.infer_shape(data=(20, 4))[1][0]}")
print(path.name)
