"""The pictures of a run: a colour means one gradient in all of them, and remedies are seen against each other."""

import re

import pytest

from tinygrad_lesson.lesson import remedies, run
from tinygrad_lesson.viz.column import Scale
from tinygrad_lesson.viz.flow import gradient_flow


def test_a_colour_means_the_same_in_all_pictures_of_a_run(tmp_path, monkeypatch):
    told, plotted = [], []
    monkeypatch.setattr(run, "put", lambda drawing, path: told.append(drawing.source) or path)
    monkeypatch.setattr(run, "save_figure", lambda drawn, path: plotted.append(drawn))
    results = [run.train(name, epochs=2, progress=False) for name in ("mlp8", "res6")]
    for result in results:
        run.write(result, tmp_path / result.name)
    run.write_comparison(results, tmp_path)
    scale = Scale(*run.SCALE)
    for result in results:
        for weight, values in result.history.mean_abs_grad.items():
            boxes = [re.findall(rf'label="?{weight.removesuffix("_weight")}\b.*', source) for source in told]
            boxes = [box for found in boxes for box in found if f"{values[0]:.1e}" in box]
            assert len(boxes) == 2  # its own picture, and that of all networks
            assert all(scale.colour(values[0]) in box for box in boxes)
    heat = [
        ax.collections[0].norm
        for ax in plotted
        if getattr(ax, "collections", None) and hasattr(ax.collections[0], "norm")
    ]
    assert {(norm.vmin, norm.vmax) for norm in heat if norm.vmin is not None} >= {run.SCALE}
    page = run.write_page(results, tmp_path).read_text(encoding="utf-8")
    assert '"scale":{"low":1e-16,"high":1.0}' in page


def test_a_number_beyond_the_scale_has_its_last_colour():
    net = run.train("mlp4", epochs=1, progress=False).model
    weights = list(net.history.mean_abs_grad)
    source = gradient_flow((net.prediction, dict.fromkeys(weights, 1e-30)), scale=(1e-16, 1.0)).source
    assert source.count(Scale(1e-16, 1.0).colour(1e-16)) >= len(weights)


def test_every_family_of_remedies_has_the_same_plain_network():
    families = remedies.compare(epochs=2)
    plain = families["structure"]["plain"]
    assert all(plain in networks.values() for networks in families.values())
    assert families["first weights"]["within 0.01"] is plain  # the lesson's
    assert families["first weights"]["within 0.3"] != plain
    assert len(families["against each other"]) == 6
    assert all(
        losses[0] == pytest.approx(1) for networks in families.values() for losses in networks.values()
    )
