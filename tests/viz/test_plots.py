"""Plots: what is drawn is what was given, and a reader can tell the lines apart."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from tinygrad_lesson import FeedForward, sym
from tinygrad_lesson.errors import AttributeValueError, DTypeError
from tinygrad_lesson.lesson import run
from tinygrad_lesson.train.history import History
from tinygrad_lesson.viz.axes import save_figure
from tinygrad_lesson.viz.distributions import plot_activations, plot_weights
from tinygrad_lesson.viz.plots import (
    plot_depths,
    plot_gradients,
    plot_heatmap,
    plot_loss,
    plot_losses,
    plot_remedies,
    side_by_side,
)

FAMILIES = ("loss function", "optimizer", "activation", "batch normalization", "structure")


def gradients(count, epochs=30, lowest=1e-15):
    """Mean absolute gradients as in a plain network: the nearer to the input, the smaller."""
    last = np.geomspace(1e-5, 1e-3, epochs)
    scales = np.geomspace(lowest / 1e-5, 1, count)
    return {f"fc{i + 1}_weight": (last * scale).tolist() for i, scale in enumerate(scales)}


def data_lines(ax, epochs=30):
    return [line for line in ax.lines if len(line.get_xdata()) == epochs]


def luminance(colour):
    return np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722])


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("floor", [1e-8, 1e-12])
def test_gradients_are_drawn_per_epoch_and_no_lower_than_the_floor(floor):
    given = gradients(8)
    ax = plot_gradients(given, floor=floor)
    assert ax.get_yscale() == "log"
    for line, values in zip(data_lines(ax), given.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 31))
        np.testing.assert_array_equal(line.get_ydata(), [max(value, floor) for value in values])


@pytest.mark.parametrize("count", [1, 4, 8, 10])
def test_each_of_a_few_weights_has_its_name_and_its_own_marker(count):
    given = gradients(count)
    ax = plot_gradients(given)
    assert legend_texts(ax) == list(given)
    assert len({line.get_marker() for line in data_lines(ax)}) == count


@pytest.mark.parametrize("count", [11, 26, 101])
def test_of_many_weights_ten_are_named_from_the_first_to_the_last(count):
    ax = plot_gradients(gradients(count))
    names = legend_texts(ax)
    assert len(names) == 10
    assert (names[0], names[-1]) == ("fc1_weight", f"fc{count}_weight")
    assert ax.get_legend().get_title().get_text().startswith(f"10 of {count} weights")
    assert len(data_lines(ax)) == count


@pytest.mark.parametrize("count", [4, 26])
def test_colours_grow_lighter_from_the_first_layer_to_the_last(count):
    colours = [line.get_color() for line in data_lines(plot_gradients(gradients(count)))]
    assert (np.diff([luminance(colour) for colour in colours]) > 0).all()


def test_weights_that_never_leave_the_floor_are_counted():
    given = {"a": [1e-9, 1e-10], "b": [1e-9, 1e-7], "c": [0.0, 0.0], "d": [1e-3, 1e-3]}
    (text,) = plot_gradients(given).texts
    assert text.get_text() == "2 of 4 weights never rise above 1e-08"


def test_no_word_of_the_floor_when_nothing_is_near():
    assert not plot_gradients({"a": [1e-3, 2e-3]}).texts


def test_markers_of_lines_on_top_of_each_other_stand_apart():
    lines = data_lines(plot_gradients(gradients(5, epochs=30)))
    firsts = [line.get_markevery()[0] for line in lines]
    assert len(set(firsts)) == 5


def test_axes_that_are_given_are_drawn_on_and_given_back():
    left, right = Figure().subplots(1, 2)
    assert plot_gradients(gradients(3), ax=left, title="mlp3") is left
    assert left.get_title() == "mlp3"
    assert plot_loss([0.3, 0.2], ax=right) is right
    assert len(left.figure.axes) == 2


def test_loss_and_accuracy_have_an_axis_each():
    losses, accuracy = [0.36, 0.2, 0.1], [0.3, 0.7, 0.9]
    ax = plot_loss(losses, accuracy)
    left, right = ax.figure.axes
    assert left is ax
    np.testing.assert_array_equal(left.lines[0].get_xydata(), np.c_[[1, 2, 3], losses])
    np.testing.assert_array_equal(right.lines[0].get_xydata(), np.c_[[1, 2, 3], accuracy])
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert left.get_ylabel() == "loss"
    assert right.get_ylabel().startswith("accuracy")


def test_a_model_and_its_history_are_plotted_as_their_numbers():
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc1")
    loss = sym.MakeLoss(sym.mean(sym.square(x - sym.Variable("label"))))
    rows = np.ones((4, 2)), np.eye(2)[[0, 1, 0, 1]]
    model = FeedForward(loss, prediction=x, num_epoch=3, numpy_batch_size=4, seed=0)
    history = model.fit(*rows, eval_data=rows, progress=False)
    for told in (model, history):
        np.testing.assert_array_equal(plot_loss(told).lines[0].get_ydata(), history.loss)
        np.testing.assert_array_equal(plot_loss(told).figure.axes[1].lines[0].get_ydata(), history.accuracy)
        np.testing.assert_array_equal(
            data_lines(plot_gradients(told), 3)[0].get_ydata(), history.mean_abs_grad["fc1_weight"]
        )
        assert plot_heatmap(told).get_yticklabels()[0].get_text() == "fc1_weight"
        assert plot_weights(told).get_yticklabels()[0].get_text() == "fc1"
        np.testing.assert_array_equal(plot_losses({"a": told}).lines[0].get_ydata(), history.loss)
        assert plot_depths({"a": told}).lines[0].get_ydata() == history.mean_abs_grad["fc1_weight"][0]


def test_accuracy_may_be_known_in_some_epochs_only():
    ax = plot_loss([0.36, 0.2, 0.1, 0.09], {1: 0.3, 4: 0.9}, title="a $1 net")
    right = ax.figure.axes[1].lines[0]
    np.testing.assert_array_equal(right.get_xydata(), [[1, 0.3], [4, 0.9]])
    assert right.get_marker() == "o"
    assert ax.get_title() == r"a \$1 net"


@pytest.mark.parametrize("losses", [[0.3661, 0.3660], [1.0, 1e-3], [1.0, 1e-14]])
def test_a_loss_axis_spans_a_decade_or_more_and_has_ticks(losses):
    ax = plot_loss(losses)
    bottom, top = ax.get_ylim()
    assert top / bottom >= 10
    assert bottom < min(losses)
    assert max(losses) < top
    assert sum(bottom <= tick <= top for tick in ax.get_yticks()) >= 3
    assert any(max(losses) <= tick <= top for tick in ax.get_yticks())  # one can read how high it begins


def test_each_family_of_remedies_has_a_panel_with_its_networks_on_shared_axes():
    histories = {
        family: {f"{family} {j}": np.geomspace(0.4, 10.0 ** -(i + j), 20).tolist() for j in range(i + 1)}
        for i, family in enumerate(FAMILIES)
    }
    panels = plot_remedies(histories)
    assert panels[0].figure.get_supylabel() == "loss, as a share of that in the first epoch"
    assert [ax.get_title() for ax in panels] == list(FAMILIES)
    assert panels[0].figure.axes == panels
    for ax, networks in zip(panels, histories.values(), strict=True):
        assert ax.get_yscale() == "log"
        assert ax.get_ylim() == panels[0].get_ylim()
        assert legend_texts(ax) == list(networks)
        for line, losses in zip(ax.lines, networks.values(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), losses)
        assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == len(networks)


def test_the_network_that_all_families_have_looks_the_same_in_each():
    plain, other, third = [1.0, 0.9], [1.0, 0.5], [1.0, 0.4]
    panels = plot_remedies(
        {"a": {"x": other, "none": plain}, "b": {"plain": plain, "y": [1.0, 0.6], "z": third}}
    )
    found = {
        (line.get_color(), line.get_linestyle(), line.get_linewidth())
        for line in (panels[0].lines[1], panels[1].lines[0])
    }
    assert len(found) == 1
    assert found.isdisjoint(
        (line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in panels[1].lines[1:]
    )
    assert (
        panels[0].lines[1].get_zorder() < panels[0].lines[0].get_zorder()
    )  # the others are not hidden under it


def test_of_losses_that_are_alike_all_are_seen():
    ax = plot_losses({name: [0.4] * 20 for name in "abc"})
    marked = [set(range(*line.get_markevery()[:1], 20, line.get_markevery()[1])) for line in ax.lines]
    assert all(marked)
    assert not marked[0] & marked[1]
    assert not marked[1] & marked[2]
    assert len({line.get_marker() for line in ax.lines}) == 3


def test_what_is_empty_is_refused():
    with pytest.raises(AttributeValueError, match="mean_abs_grad is empty"):
        plot_gradients({})
    with pytest.raises(AttributeValueError, match="empty family"):
        plot_remedies({"optimizer": {}})
    with pytest.raises(AttributeValueError, match="nothing to plot"):
        plot_remedies({})


@pytest.mark.parametrize("whole", [True, False], ids=["figure", "axes"])
def test_a_saved_picture_is_a_picture(whole, tmp_path):
    ax = plot_loss([0.3, 0.2, 0.1])
    save_figure(ax.figure if whole else ax, tmp_path / "loss.png")
    pixels = imread(tmp_path / "loss.png")
    assert pixels.shape[0] > 300
    assert pixels.std() > 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_of_the_name_is_the_format(ending, start, tmp_path):
    save_figure(plot_loss([0.3, 0.2]), tmp_path / f"loss.{ending}")
    assert (tmp_path / f"loss.{ending}").read_bytes().startswith(start)


def test_an_ending_without_a_format_is_refused(tmp_path):
    with pytest.raises(AttributeValueError, match=r"ends in 'xyz', expected one of .*png"):
        save_figure(plot_loss([0.3, 0.2]), tmp_path / "loss.xyz")
    assert not list(tmp_path.iterdir())


def test_matplotlib_waits_for_the_first_plot_and_pyplot_is_never_needed():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tinygrad_lesson.viz.plots import plot_loss\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plot_loss([0.3, 0.2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Several networks at once, heat maps, distributions.


@pytest.fixture(scope="module")
def trained():
    return {name: run.train(name, epochs=5, progress=False).history for name in ("mlp8", "res6")}


def test_every_plot_function_takes_axes_and_gives_them_back(trained):
    mlp8 = trained["mlp8"]
    calls = [
        (plot_gradients, mlp8.mean_abs_grad), (plot_loss, mlp8.loss), (plot_losses, trained),
        (plot_depths, trained), (plot_heatmap, mlp8.mean_abs_grad), (plot_weights, mlp8), (plot_activations, mlp8),
    ]  # fmt: skip
    for plot, given in calls:
        ax = Figure().subplots()
        assert plot(given, ax=ax) is ax, plot.__name__
    axes = Figure().subplots(1, 2).tolist()
    assert plot_remedies({"a": {"x": [1.0, 0.5]}, "b": {"y": [1.0, 0.7]}}, axes=axes) == axes


def test_losses_of_several_networks_are_lines_that_can_be_told_apart(trained):
    ax = plot_losses(trained)
    assert legend_texts(ax) == ["mlp8", "res6"]
    for line, history in zip(ax.lines, trained.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), history.loss)
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 2


def test_eight_networks_have_eight_colours():
    histories = {str(i): [1.0, 0.5] for i in range(8)}
    assert len({line.get_color() for line in plot_losses(histories).lines}) == 8


def test_depths_go_from_the_last_layer_back_and_leave_zeros_out():
    ax = plot_depths({"a": {"w1": [1e-9, 5.0], "w2": [0.0, 6.0], "w3": [1e-3, 7.0]}}, epoch=1)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1e-3, np.nan, 1e-9])
    np.testing.assert_array_equal(plot_depths({"a": {"w1": [1, 5.0], "w2": [1, 6.0]}}, epoch=-1).lines[0].get_ydata(), [6, 5])  # fmt: skip
    assert ax.get_yscale() == "log"


def test_a_heat_map_has_a_row_per_weight_the_first_on_top_and_no_rainbow():
    ax = plot_heatmap({"w1": [1e-9, 1e-8], "w2": [0.0, 1e-2]}, title="net")
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array().filled(-1), [[1e-9, 1e-8], [-1, 1e-2]])
    assert (mesh.norm.vmin, mesh.norm.vmax) == (1e-9, 1e-2)
    assert mesh.cmap.name == "viridis"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["w1", "w2"]
    assert ax.yaxis_inverted()


@pytest.mark.parametrize("count", [3, 26, 300])
def test_rows_of_a_heat_map_are_named_as_far_as_names_fit(count):
    names = [text.get_text() for text in plot_heatmap(gradients(count)).get_yticklabels()]
    assert (names[0], names[-1]) == ("fc1_weight", f"fc{count}_weight")
    assert len(names) == min(count, len(names)) <= 36


def test_side_by_side_each_network_has_its_axes(trained):
    axes = side_by_side(
        plot_heatmap, {name: h.mean_abs_grad for name, h in trained.items()}, low=1e-16, high=1.0
    )
    assert [ax.get_title() for ax in axes] == ["mlp8", "res6"]
    assert {ax.collections[0].norm.vmin for ax in axes} == {1e-16}
    assert axes[0].figure is axes[1].figure


@pytest.mark.parametrize("plot", [plot_loss, plot_gradients])
def test_side_by_side_stand_on_one_scale_on_which_all_is_seen(plot):
    def told(first, last):
        return History(loss=[first, last], mean_abs_grad={"w": [first, last]})

    axes = side_by_side(plot, {"flat": told(1e-9, 1e-9), "falling": told(1e3, 1e-4)})
    assert len({ax.get_ylim() for ax in axes}) == 1
    bottom, top = axes[0].get_ylim()
    assert bottom < 1e-8
    assert top > 1e3
    flat_first = side_by_side(plot, {"flat": told(1.0, 1.0), "falling": told(1.0, 1e-4)})
    assert flat_first[0].get_ylim()[0] < 1e-4


@pytest.mark.parametrize(("plot", "what"), [(plot_weights, "weights"), (plot_activations, "activations")])
def test_distributions_have_a_row_per_layer_with_the_largest_magnitudes(trained, plot, what):
    ax = plot(trained["mlp8"], title="mlp8")
    assert [text.get_text() for text in ax.get_yticklabels()] == [f"fc{i}" for i in range(1, 9)]
    spread = getattr(trained["mlp8"].layers["first"][0], what)
    assert ax.texts[0].get_text().splitlines()[0] == f"\N{PLUS-MINUS SIGN}{max(-spread.low, spread.high):.1e}"


def test_distributions_are_those_of_the_weights(trained):
    model = run.train("mlp4", epochs=2, progress=False).model
    weights = model.arg_params["fc2_weight"]
    layer = model.history.layers["last"][1]
    assert layer.weights.counts == np.histogram(weights, 32, (weights.min(), weights.max()))[0].tolist()
    assert layer.weights.mean == pytest.approx(weights.mean(dtype=float))
    assert sum(layer.activations.counts) == 100 * 10


def test_nothing_to_plot_is_refused():
    for plot in (plot_losses, plot_depths, plot_heatmap):
        with pytest.raises(AttributeValueError, match="nothing to plot"):
            plot({})
    with pytest.raises(AttributeValueError, match="knows no layers"):
        plot_weights(History(mean_abs_grad={"a": [1.0]}))


@pytest.mark.parametrize("name", ["_hidden", "$x^2", "a\nb\x00", "<b>", "ab" * 5000, "\u202eevil"])
def test_a_name_is_shown_as_a_name(name, tmp_path):
    ax = plot_gradients({name: [1.0, 0.5]}, title=name)
    save_figure(ax, tmp_path / "plot.png")
    (shown,) = legend_texts(ax)
    assert shown.lstrip(" ")[:2] in (
        name[:2],
        "\\$",
        "a\N{REPLACEMENT CHARACTER}",
        "\N{REPLACEMENT CHARACTER}e",
    )
    save_figure(plot_heatmap({name: [1.0, 0.5]}, title=name), tmp_path / "heat.png")


@pytest.mark.parametrize("given", [sym.Variable("x"), 3], ids=["symbol", "number"])
@pytest.mark.parametrize(
    "plot", [plot_gradients, plot_heatmap, plot_loss, plot_losses, plot_depths, plot_remedies]
)
def test_what_is_no_training_is_refused_by_the_plot_that_was_asked(plot, given):
    with pytest.raises(DTypeError, match=rf"^{plot.__name__}: .*expected"):
        plot(given)
