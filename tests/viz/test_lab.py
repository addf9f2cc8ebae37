"""The laboratory in a browser: it learns what the engine learns, and says so."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from tinygrad_lesson import FeedForward, viz
from tinygrad_lesson.lesson import lab, run
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.lesson.remedies import ACTIVATIONS, STRUCTURES, network
from tinygrad_lesson.symbol import NameManager
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.viz.javascript import EXPRESSIONS
from tinygrad_lesson.viz.page import laboratory

# None of them is so sensitive that the engine's own runners part from each other: with relus that are about to close,
# or Adam on biases before batch normalization, whose gradients are nothing but rounding, they do.
SETTINGS = [
    ("iris", "plain", "relu", False, 7, 10, 0.01, "adam", 0.001),
    ("iris", "plain", "relu", True, 7, 10, 0.1, "sgd", 0.01),
    ("iris", "residual", "relu", False, 6, 3, 0.01, "momentum", 0.05),
    ("iris", "dense", "relu", False, 6, 5, 0.01, "momentum", 0.05),
    ("iris", "plain", "leaky relu", False, 2, 10, 0.01, "momentum", 0.05),
    ("iris", "residual", "tanh", False, 30, 16, 0.05, "sgd", 0.02),
    ("spirals", "plain", "tanh", False, 4, 12, 0.5, "adam", 0.01),
    ("spirals", "dense", "tanh", True, 4, 4, 0.5, "sgd", 0.03),
    ("rings", "residual", "sigmoid", True, 5, 8, 0.3, "sgd", 0.03),
    ("rings", "plain", "sigmoid", False, 1, 16, 1.0, "momentum", 0.1),
    ("rings", "plain", "relu", False, 3, 1, 0.7, "adam", 0.01),
    ("rings", "dense", "leaky relu", False, 12, 2, 0.3, "sgd", 0.05),
]
LEARN = """([asked, epochs, batches]) => {
    const kit = JSON.parse(document.getElementById("kit").textContent), rows = kit.rows[asked.data];
    const features = rows.train[0].length, net = new PlanRunner.Network(kit, { ...asked, features });
    net.start(asked.bound, 0);
    const data = Float32Array.from(rows.train.flat()), labels = new Float32Array(rows.train.length * kit.kinds);
    rows.train_kinds.forEach((kind, i) => { labels[i * kit.kinds + kind] = 1; });
    const part = (array, b, wide) => array.subarray(b * kit.batch * wide, (b + 1) * kit.batch * wide);
    const losses = [];
    for (let i = 0; i < epochs * batches; i++) {
        const b = i % batches;
        losses.push(net.step(part(data, b, features), part(labels, b, kit.kinds), asked.rate));
    }
    const parameters = [...net.named].filter(([name]) => net.named.has(`gradient ${name}`));
    return { losses, parameters: Object.fromEntries(parameters.map(([name, array]) => [name, [...array]])),
        answers: net.answer(Float32Array.from(rows.test.flat())) };
}"""


def asked(data, structure, activation, normalized, depth, width, bound, optimizer, rate):
    return locals()


def by_the_engine(settings, epochs, batches=5):
    """Losses, parameters and probabilities of the test rows, by the NumPy runner."""
    rows = lab.all_rows()[settings["data"]]
    variant = {key: settings[key] for key in ("structure", "activation", "normalized", "depth")}
    with NameManager():
        prediction = network(**variant, hidden=settings["width"])
        loss = cross_entropy(prediction)
    rule = dataclasses.replace(lab.OPTIMIZERS[settings["optimizer"]], learning_rate=settings["rate"])
    model = FeedForward(
        loss, prediction=prediction, num_epoch=epochs, initializer=Uniform(settings["bound"]), seed=0, optimizer=rule
    )  # fmt: skip
    learnt = slice(20 * batches)
    data = NDArrayIter(rows.train_data[learnt], rows.train_label[learnt], 20, label_name="label")
    history = model.fit(data, progress=False)
    parameters = {name: np.ravel(array) for name, array in model.arg_params.items()}
    return history.loss, parameters, model.predict(rows.test_data).ravel()


@pytest.fixture(scope="module")
def kit():
    return lab.kit()


@pytest.fixture(scope="module")
def written(kit, tmp_path_factory):
    return laboratory(kit, tmp_path_factory.mktemp("lab") / "laboratory.html")


@pytest.fixture
def numpy_runner(monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")


def settled(tab, epoch):
    """Wait until both networks have come to this epoch."""
    for _ in range(600):  # 30 s on a loaded machine; the page's policy admits no text as a script
        if tab.evaluate("Math.min(...Laboratory.nets().map((net) => net.epochs))") >= epoch:
            break
        tab.wait_for_timeout(50)
    tab.wait_for_timeout(100)


def layers(tab, name="a"):
    return tab.locator(f"#lab-net-{name} .lab-layer span:last-child").all_inner_texts()


# The numbers.


def test_it_is_one_file_under_3_mb_that_needs_no_network(visit, written):
    assert written.stat().st_size < 3e6
    tab = visit(written)  # which fails where anything is asked for, or said in the console
    settled(tab, 1)
    policy = tab.locator('meta[http-equiv="Content-Security-Policy"]').get_attribute("content")
    assert policy.startswith(
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'sha256-"
    )
    assert "unsafe" not in policy


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s)))
def test_after_100_steps_it_is_where_the_numpy_runner_is(visit, written, numpy_runner, settings):
    settings = asked(*settings)
    losses, parameters, answers = by_the_engine(settings, epochs=20)
    found = visit(written).evaluate(LEARN, [settings, 20, 5])
    np.testing.assert_allclose(np.reshape(found["losses"], (20, 5)).mean(axis=1), losses, rtol=0, atol=1e-5)
    assert set(found["parameters"]) == set(parameters)
    for name, values in parameters.items():
        np.testing.assert_allclose(found["parameters"][name], values, rtol=0, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found["answers"], answers, rtol=0, atol=1e-5)


def test_every_kind_of_network_takes_the_engines_first_step(visit, written, numpy_runner):
    tab = visit(written)
    for structure, activation, normalized in itertools.product(STRUCTURES, ACTIVATIONS, (False, True)):
        settings = asked("rings", structure, activation, normalized, 3, 4, 0.5, "momentum", 0.1)
        losses, parameters, _ = by_the_engine(settings, epochs=1, batches=1)
        found = tab.evaluate(LEARN, [settings, 1, 1])
        np.testing.assert_allclose(found["losses"], losses, rtol=1e-6)
        for name, values in parameters.items():
            np.testing.assert_allclose(
                found["parameters"][name], values, atol=1e-6, err_msg=f"{settings} {name}"
            )


def test_there_is_a_line_of_javascript_for_every_call(kit):
    others = {
        "matmul",
        "add.reduce",
        "maximum.reduce",
        "concatenate",
        "full",
    }  # which are functions of their own
    parts = [part for kinds in kit["families"].values() for part in kinds.values()]
    parts += [optimizer["calls"] for optimizer in kit["optimizers"].values()]
    called = {call["call"][0] for part in parts for stretch in part for call in stretch["calls"]}
    assert called - others == set(EXPRESSIONS)


def test_it_opens_on_the_lessons_mlp8_and_bn8_and_learns_what_they_learn(visit, written):
    tab = visit(written)
    settled(tab, 1)
    results = {name: run.train(name, progress=False) for name in ("mlp8", "bn8")}
    for epoch in (1, 100):
        tab.locator("#lab-epoch").fill(str(epoch))
        settled(tab, epoch)
        for name, result in zip("ab", results.values(), strict=True):
            assert (
                f"loss {result.history.loss[epoch - 1]:.4f};"
                in tab.locator(f"#lab-net-{name} .lab-told").inner_text()
            )
        told = [float(text) for text in layers(tab)]
        grads = [values[epoch - 1] for values in results["mlp8"].history.mean_abs_grad.values()]
        np.testing.assert_allclose(told[-2:], grads[-2:], rtol=0.06)
        assert max(told[:3]) < 1e-10  # it has vanished
    told = tab.locator("#lab-net-b .lab-told").inner_text()
    assert f"test rows right: {100 * results['bn8'].accuracy:.0f} %" in told


# What is seen and done.


def test_the_address_says_all_and_opens_all(visit, written):
    tab = visit(written)
    tab.locator("#lab-data").select_option("spirals")
    tab.locator("#lab-net-b [data-setting=structure]").select_option("dense")
    tab.locator("#lab-net-b [data-setting=depth]").fill("3")
    tab.locator("#lab-epoch").fill("7")
    settled(tab, 7)
    tab.locator("#lab-net-b .lab-layer").nth(2).click()
    address = tab.evaluate("location.hash")
    other = visit(written)
    other.goto(written.as_uri() + address)
    settled(other, 7)
    for at in (
        "#lab-data",
        "#lab-epoch",
        "#lab-net-b [data-setting=structure]",
        "#lab-net-b [data-setting=depth]",
    ):
        assert other.locator(at).input_value() == tab.locator(at).input_value()
    assert layers(other, "b") == layers(tab, "b")
    assert other.locator("#lab-net-b .lab-layer[aria-selected=true]").inner_text().startswith("fc3")
    other.evaluate("location.hash = '#tab=laboratory&data=rings&epoch=3'")  # a link within the page
    settled(other, 3)
    assert other.locator("#lab-data").input_value() == "rings"


@pytest.mark.parametrize("address", [
    "#a=<img src=x onerror=alert(1)>&data=__proto__&epoch=-5&layer=1e9&last=constructor&speed=NaN", "#a=,,,,,,,", "#epoch=1e99",
    "#%", "#a=plain,7,10,relu,no,1e999,adam,0.001&b=dense,31,0,x,y,z,adam",
])  # fmt: skip
def test_an_address_that_says_nothing_does_no_harm(visit, written, address):
    tab = visit(written)
    tab.goto("about:blank")
    tab.goto(written.as_uri() + address)
    settled(tab, 1)
    assert tab.locator("#lab-data").input_value() == "iris"
    assert tab.locator("#lab-net-a [data-setting=structure]").input_value() == "plain"
    assert tab.locator("img").count() == 0
    assert len(layers(tab)) == 8


def test_play_trains_and_pause_stops(visit, written):
    tab = visit(written)
    settled(tab, 1)
    before = layers(tab, "b")
    tab.get_by_role("button", name="Train").click()
    settled(tab, 3)
    tab.get_by_role("button", name="Pause").click()
    epoch = int(tab.locator("#lab-epoch").input_value())
    assert epoch >= 2
    assert layers(tab, "b") != before
    tab.wait_for_timeout(300)
    assert int(tab.locator("#lab-epoch").input_value()) == epoch
    tab.locator("#lab-epoch").fill("1")  # back to what was
    tab.wait_for_timeout(100)
    assert layers(tab, "b") == before


def test_each_layer_has_the_colour_of_its_gradient(visit, written):
    tab = visit(written)
    tab.locator("#lab-epoch").fill("20")
    settled(tab, 20)
    ramp = json.loads(tab.locator("#kit").text_content())["ramp"]
    for row in tab.locator(".lab-layer").all():
        share = np.clip(1 + np.log10(float(row.locator("span").last.inner_text())) / 16, 0, 1)
        shown = row.evaluate("row => getComputedStyle(row).backgroundColor")
        near = {round(share * (len(ramp) - 1) + nudge) for nudge in (-0.3, 0, 0.3)}  # two digits are told
        assert shown in {
            f"rgb({', '.join(str(int(ramp[i][k : k + 2], 16)) for k in (1, 3, 5))})"
            for i in near
            if i < len(ramp)
        }
    ticks = tab.locator("#lab-ticks span").all_inner_texts()
    assert ticks == ["\u2264 1e-16", "1e-12", "1e-8", "1e-4", "\u2265 1"]


def test_a_made_data_set_has_its_picture_and_iris_none(visit, written):
    tab = visit(written)
    settled(tab, 1)
    assert not tab.locator("#lab-net-a canvas").is_visible()
    tab.locator("#lab-example").select_option(label="depth against spirals")
    tab.locator("#lab-epoch").fill("100")
    settled(tab, 100)
    kit = json.loads(tab.locator("#kit").text_content())
    shown = tab.locator("#lab-net-b canvas").evaluate("""(canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height), at = (x, y) =>
            4 * (Math.round((1 - y / LabView.SPAN) / 2 * canvas.height) * canvas.width + Math.round((x / LabView.SPAN + 1) / 2 * canvas.width));
        return KIT.rows.spirals.train.map(([x, y]) => [...data.slice(at(x, y), at(x, y) + 3)]);
    }""".replace("KIT", "JSON.parse(document.getElementById('kit').textContent)"))  # fmt: skip
    colours = {0: [230, 159, 0], 1: [86, 180, 233], 2: [0, 158, 115]}
    right = [
        rgb == colours[kind] for rgb, kind in zip(shown, kit["rows"]["spirals"]["train_kinds"], strict=True)
    ]
    assert np.mean(right) > 0.75  # a dot lies where its row is; some lie under another one


def test_all_of_it_by_keyboard_in_the_laboratory(visit, written):
    tab = visit(written)
    settled(tab, 1)
    tab.locator("#lab-play").focus()
    tab.keyboard.press("Enter")
    settled(tab, 2)
    tab.keyboard.press("Enter")
    tab.locator("#lab-epoch").focus()
    tab.keyboard.press("End")
    settled(tab, 100)
    assert tab.locator("#lab-epoch-told").inner_text() == "100"
    tab.locator("#lab-net-a .lab-layers").focus()
    tab.keyboard.press("End")
    assert tab.locator("#lab-net-a .lab-layer[aria-selected=true]").inner_text().startswith("answer")
    tab.keyboard.press("ArrowUp")
    assert "Gradient of layer 7" in tab.locator("#lab-course-told").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_laboratory_fits_a_phone_and_a_desktop(visit, written, width, scheme):
    tab = visit(written, width=width, height=844, color_scheme=scheme)
    tab.locator("#lab-example").select_option(label="dense, plain: spirals")
    settled(tab, 1)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    sizes = tab.locator("button:visible, select:visible, input:visible").evaluate_all(
        "all => all.map(b => b.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 32
    tops = [tab.locator(f"#lab-net-{name} .lab-layers").bounding_box()["y"] for name in "ab"]
    assert tops[0] == pytest.approx(tops[1], abs=1)  # side by side
    charts = tab.locator("#lab-charts .uplot").evaluate_all(
        "all => all.map(c => c.getBoundingClientRect().width)"
    )
    assert len(charts) == 3
    assert max(charts) <= width


def test_the_page_of_a_run_has_it_as_a_tab(visit, kit, tmp_path):
    histories = {name: {"mean_abs_grad": {"fc1_weight": [1e-3] * 5}} for name in ("one", "laboratory")}
    tab = visit(viz.page(histories, tmp_path / "index.html", kit=kit))
    assert tab.locator("[role=tab]").all_inner_texts() == ["one", "laboratory", "Laboratory"]
    assert not tab.locator("#lab").is_visible()
    tab.get_by_role("tab", name="Laboratory", exact=True).click()
    settled(tab, 1)
    assert tab.locator("#lab").is_visible()
    assert not tab.locator("#panel").is_visible()
    assert "tab=laboratory" in tab.evaluate("location.hash")
    tab.get_by_role("tab", name="one", exact=True).click()
    assert not tab.locator("#lab").is_visible()
    assert tab.locator("#panel").is_visible()


def test_the_lessons_networks_are_among_those_of_the_laboratory(numpy_runner):
    """`mlp8` and `bn8` have the same ops in the same order as what the laboratory builds."""
    own = [
        network(depth=7, hidden=10),
        network(depth=7, hidden=10, normalized=True),
        network(structure="residual", depth=25),
    ]
    for name, symbol in zip(("mlp8", "bn8", "res25"), own, strict=True):
        with NameManager():
            lesson = NETWORKS[name].build()
        assert [node.op for node in symbol.nodes] == [node.op for node in lesson.nodes]
