"""MXNet's JSON: what MXNet 1.9.1 saved comes out again, older formats are read, hostile texts are refused."""

import contextlib
import json
import random
import re
import time
import tracemalloc

import numpy as np
import pytest
from damage import damaged_json, seeds
from golden import DATA, load_cases
from test_golden_ops import CASES, COVERED, symbol_of

from tinygrad_lesson import attr, cpu, op, sym
from tinygrad_lesson.errors import FormatError, LessonError
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise

NETS = sorted(path.name.removesuffix("-symbol.json") for path in (DATA / "nets").glob("*-symbol.json"))


def saved(name):
    """A network's JSON as MXNet wrote it."""
    return (DATA / "nets" / f"{name}-symbol.json").read_text()


def outputs_of(symbol, seed=0):
    """Outputs in training for random arguments."""
    executor = symbol.simple_bind(cpu(), grad_req="null", data=(4, 4), label=(4, 3))
    generator = np.random.default_rng(seed)
    for array in (*executor.arg_arrays, *executor.aux_arrays):
        array[:] = generator.uniform(0.1, 1, array.shape)
    return [y.asnumpy() for y in executor.forward(is_train=True)]


def entry(**changes):
    """A graph of one layer as a dict, with changes to its last node."""
    graph = json.loads(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc").tojson())
    graph["nodes"][-1].update(changes)
    return graph


@pytest.mark.parametrize("name", NETS)
def test_what_mxnet_saved_comes_out_again(name):
    again = sym.load_json(saved(name)).tojson()
    assert "".join(again.split()) == "".join(saved(name).split())


@pytest.mark.parametrize("name", NETS)
def test_a_saved_network_lists_and_computes_the_same(name, tmp_path):
    net = sym.load(str(DATA / "nets" / f"{name}-symbol.json"))
    net.save(str(tmp_path / "net.json"))
    again = sym.load(str(tmp_path / "net.json"))
    for what in ("list_arguments", "list_outputs", "list_auxiliary_states", "attr_dict"):
        assert getattr(again, what)() == getattr(net, what)()
    for a, b in zip(outputs_of(net), outputs_of(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", COVERED)
def test_every_operator_is_saved_and_loaded(name):
    symbol = symbol_of(CASES[name])
    again = sym.load_json(symbol.tojson())
    assert again.tojson() == symbol.tojson()
    assert again.heads[0].node.op == symbol.heads[0].node.op


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    sym.relu(sym.Variable("x"), name="old").save(str(path))
    before = path.read_text()
    monkeypatch.setattr("os.fsync", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        sym.relu(sym.Variable("x"), name="new").save(str(path))
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_graph_that_is_refused_sends_nothing_to_the_terminal():
    told = json.loads(sym.relu(sym.Variable("x"), name="r\x1b[31m\n").tojson())
    for change in ({"op": "no\x1b"}, {"inputs": "\x1b[31m"}, {"inputs": [["\x1b[31m"]]}, {"attrs": {"a": 1}}):
        nodes = [told["nodes"][0], {**told["nodes"][1], **change}]
        with pytest.raises(FormatError, match=r"node 1 \(r\\x1b\[31m\\n\)") as caught:
            sym.load_json(json.dumps({**told, "nodes": nodes}))
        assert str(caught.value).isprintable()


def test_groups_and_inner_outputs_keep_their_heads():
    parts = sym.split(sym.Variable("x"), num_outputs=3, name="sp")
    pair = sym.Group([parts[2], sym.relu(parts[0], name="r"), sym.Variable("z")])
    again = sym.load_json(pair.tojson())
    assert again.list_outputs() == ["sp_output2", "r_output", "z"]
    assert again.list_arguments() == ["x", "z"]


# Formats before MXNet 1.0.


@pytest.mark.parametrize("key", ["attr", "param", "attrs"])
def test_older_keys_for_attributes_are_read(key):
    graph = entry()
    for node in graph["nodes"]:
        if "attrs" in node:
            node[key] = node.pop("attrs")
        node["backward_source_id"] = -1
    net = sym.load_json(json.dumps(graph))
    assert net.infer_shape(data=(2, 5))[1] == [(2, 3)]
    assert json.loads(net.tojson()) == entry()


def test_inputs_of_two_numbers_are_read():
    graph = entry()
    graph["nodes"][-1]["inputs"] = [pair[:2] for pair in graph["nodes"][-1]["inputs"]]
    graph["heads"] = [pair[:2] for pair in graph["heads"]]
    assert json.loads(sym.load_json(json.dumps(graph)).tojson()) == entry()


def test_attributes_of_the_user_may_stand_beside_those_of_the_operator():
    graph = entry()
    graph["nodes"][-1] |= {
        "param": {"num_hidden": "3"},
        "attr": {"lr_mult": "2", "mood": "happy", "weight_wd_mult": "0.5"},
    }
    del graph["nodes"][-1]["attrs"]
    net = sym.load_json(json.dumps(graph))
    assert net.attr_dict()["fc"] == {"num_hidden": "3", "__lr_mult__": "2", "lr_mult": "2", "mood": "happy"}
    assert net.attr_dict()["fc_weight"]["wd_mult"] == "0.5"


def test_a_multiplier_of_an_input_may_stand_at_the_layer():
    graph = entry(attr={"num_hidden": "3", "weight_lr_mult": "0.1"})
    del graph["nodes"][-1]["attrs"]
    assert sym.load_json(json.dumps(graph)).attr_dict()["fc_weight"]["lr_mult"] == "0.1"


def test_states_that_old_files_leave_out_are_added():
    graph = json.loads(sym.BatchNorm(sym.Variable("data"), name="bn").tojson())
    layer = graph["nodes"].pop()
    graph["nodes"] = [node for node in graph["nodes"] if "moving" not in node["name"]]
    graph["nodes"].append({**layer, "inputs": layer["inputs"][:3]})
    graph["heads"] = [[3, 0]]
    net = sym.load_json(json.dumps(graph))
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert net.list_arguments() == ["data", "bn_gamma", "bn_beta"]


def test_texts_of_python_2_are_read():
    x = sym.Reshape(sym.Variable("x"), shape=(2, 3), name="r")
    assert sym.load_json(x.tojson().replace("(2, 3)", "(2L, 3L)")).infer_shape(x=(6,))[1] == [(2, 3)]


# The user's own ops.


@pytest.fixture
def cube():
    """An op declared by a user."""

    @op
    class Cube(Elementwise):
        """The cube, scaled: ``y = scale * x ** 3``."""

        scale: float = attr(1.0, doc="a factor")

        def forward(self, xp, x, out=None):
            return xp.multiply(self.scale * x, x * x, out=out)

        def vjp(self, F, g, y, x):
            return (g * (3 * self.scale) * x * x,)

    yield Cube
    OPS.pop("Cube", None)
    FUNCTIONS.pop("cube", None)


def test_an_op_of_ones_own_is_used_saved_and_loaded(cube):
    net = sym.MakeLoss(sym.Cube(sym.Variable("x"), scale=0.5, name="c"))
    assert net.list_arguments() == ["x"]
    again = sym.load_json(net.tojson())
    assert again.get_internals()["c_output"].heads[0].node.op == cube(scale=0.5)
    executor = again.bind(cpu(), {"x": np.array([2.0], np.float32)}, args_grad={"x": np.zeros(1, np.float32)})
    assert executor.forward(is_train=True)[0].tolist() == [4.0]
    executor.backward()
    assert executor.grad_dict["x"].tolist() == [6.0]


def test_an_unknown_operator_asks_for_its_module(cube):
    text = sym.Cube(sym.Variable("x"), name="c").tojson()
    OPS.pop("Cube")
    FUNCTIONS.pop("cube")
    with pytest.raises(FormatError) as caught:
        sym.load_json(text)
    assert str(caught.value) == (
        "the JSON text, node 1 (c): operator 'Cube' is not known; if it is your own, import the module "
        "that declares it with @op first"
    )


# Texts that are wrong, by accident or on purpose.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the JSON text is no JSON"),
        ("nonsense", "the JSON text is no JSON"),
        ("[" * 100_000, "the JSON text is no JSON"),
        ('{"nodes": ' * 50_000, "the JSON text is no JSON"),
        ("9" * 10_000, "the JSON text is no JSON"),
        ("[1, 2]", "it lacks the lists 'nodes' and 'heads'"),
        ("{}", "it lacks the lists 'nodes' and 'heads'"),
        ('{"nodes": {}, "heads": []}', "it lacks the lists"),
        ('{"nodes": [], "heads": []}', "has no heads"),
        ('{"nodes": [], "heads": [[0, 0, 0]]}', "head 0 points at node 0, expected one of the 0 before it"),
        ('{"nodes": [3], "heads": [[0, 0, 0]]}', "node 0 has no name"),
        ('{"nodes": [{"op": "null"}], "heads": [[0, 0, 0]]}', "node 0 has no name"),
        ('{"nodes": [{"op": "null", "name": ["x"]}], "heads": [[0, 0, 0]]}', "node 0 has no name"),
    ],
    ids=range(13),
)
def test_what_is_no_graph_is_refused(text, message):
    with pytest.raises(FormatError) as caught:
        sym.load_json(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op": "NoSuchOp"}, "node 3 (fc): operator 'NoSuchOp' is not known"),
        ({"op": "x" * 10**6}, "operator 'xxx"),
        ({"op": 7}, "operator '7' is not known"),
        ({"op": None}, "operator 'None' is not known"),
        ({"inputs": None}, "node 3 (fc): it has no list of inputs"),
        ({"inputs": [[0, 0, 0]]}, "it has 1 inputs, FullyConnected takes data, weight, bias"),
        ({"inputs": [[0, 0, 0]] * 9}, "it has 9 inputs, FullyConnected takes data, weight, bias"),
        ({"inputs": [[3, 0, 0], [1, 0, 0], [2, 0, 0]]}, "input 0 points at node 3, expected one of the 3 before it"),
        ({"inputs": [[-1, 0, 0], [1, 0, 0], [2, 0, 0]]}, "input 0 points at node -1"),
        ({"inputs": [[0, 1, 0], [1, 0, 0], [2, 0, 0]]}, "input 0 wants output 1 of 'data', which has 1"),
        ({"inputs": [[0, -1, 0], [1, 0, 0], [2, 0, 0]]}, "input 0 wants output -1 of 'data'"),
        ({"inputs": [[0], [1], [2]]}, "input 0 is [0], expected [node, output, version]"),
        ({"inputs": ["", [1, 0, 0], [2, 0, 0]]}, "input 0 is '', expected [node, output, version]"),
        ({"inputs": [[0, True, 0], [1, 0, 0], [2, 0, 0]]}, "expected [node, output, version]"),
        ({"inputs": [["0", 0, 0], [1, 0, 0], [2, 0, 0]]}, "expected [node, output, version]"),
        ({"inputs": [[1e300, 0, 0], [1, 0, 0], [2, 0, 0]]}, "expected [node, output, version]"),
        ({"inputs": [[10**4000, 0, 0], [1, 0, 0], [2, 0, 0]]}, "input 0 points at node 1000"),
        ({"attrs": {"num_hidden": 3}}, "its attributes are no texts by name"),
        ({"attrs": ["num_hidden"]}, "its attributes are no texts by name"),
        ({"attrs": {"num_hidden": "many"}}, "node 3 (fc): FullyConnected: num_hidden is 'many', expected an integer"),
        ({"attrs": {"num_hidden": "-3"}}, "num_hidden is -3, expected at least 1"),
        ({"attrs": {"num_hidden": "3", "colour": "red"}}, "unknown attribute 'colour'"),
        ({"attrs": {}}, "attribute 'num_hidden' is missing"),
    ],
    ids=range(23),
)  # fmt: skip
def test_a_wrong_node_is_named(changes, message):
    with pytest.raises(FormatError) as caught:
        sym.load_json(json.dumps(entry(**changes)))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_operator_of_any_number_of_inputs_needs_one():
    graph = json.loads(sym.Concat(sym.Variable("a"), sym.Variable("b"), name="c").tojson())
    graph["nodes"][-1]["inputs"] = []
    with pytest.raises(FormatError, match="it has 0 inputs, Concat takes one or more"):
        sym.load_json(json.dumps(graph))


def test_a_cycle_is_refused():
    graph = json.loads(sym.relu(sym.exp(sym.Variable("x"))).tojson())
    graph["nodes"][1]["inputs"] = [[2, 0, 0]]
    with pytest.raises(FormatError, match="points at node 2, expected one of the 1 before it"):
        sym.load_json(json.dumps(graph))


def test_hidden_results_of_a_layer_can_be_used_but_its_new_states_cannot():
    graph = json.loads(sym.BatchNorm(sym.Variable("x"), name="bn").tojson())
    graph["heads"] = [[5, 1, 0]]
    assert sym.load_json(json.dumps(graph)).list_outputs() == ["bn_mean"]
    graph["heads"] = [[5, 3, 0]]
    with pytest.raises(FormatError, match="wants output 3 of 'bn', which has 3"):
        sym.load_json(json.dumps(graph))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "net.json"
    path.write_bytes(b'{"nodes": "\xff"}')
    with pytest.raises(FormatError, match=r"net\.json: byte 11 is no UTF-8"):
        sym.load(str(path))


def mutated(text, generator):
    """`text` with one thing wrong: a value of another kind, a part lost or doubled, bytes flipped."""
    if generator.random() < 0.4:
        at = generator.randrange(len(text))
        cut = generator.choice([1, 2, 10, 200])
        return (
            text[:at]
            + generator.choice(["", "\0", "9" * 50, '"', "[[", "}", "-", text[at : at + cut] * 2])
            + text[at + cut :]
        )
    graph = json.loads(text)
    places = [graph]
    for place in places:
        inner = place.values() if isinstance(place, dict) else place
        places += [value for value in inner if isinstance(value, dict | list)]
    place = generator.choice([place for place in places if place])
    key = generator.choice(list(place)) if isinstance(place, dict) else generator.randrange(len(place))
    action = generator.random()
    if action < 0.2:
        del place[key]
    elif action < 0.4 and isinstance(place, list):
        place.insert(key, place[key])
    else:
        place[key] = generator.choice(
            [
                None,
                True,
                -1,
                10**30,
                1.5,
                "",
                "x",
                "__class__",
                [],
                {},
                [[]],
                [0, 0, 0],
                {"a": "b"},
                "9" * 400,
                "(" * 400,
            ]
        )
    return json.dumps(graph)


@pytest.mark.parametrize("name", ["bn8", "dense6"])
def test_a_damaged_text_gives_a_graph_or_one_clear_error(name):
    generator = random.Random(name)
    refused = 0
    start = time.process_time()
    for _ in range(300):
        text = mutated(saved(name), generator)
        try:
            net = sym.load_json(text)
        except FormatError as error:
            refused += 1
            assert len(str(error)) < 600
            continue
        assert net.tojson()
        with contextlib.suppress(LessonError):
            net.simple_bind(cpu(), data=(4, 4), label=(4, 3)).forward()
    assert refused > 100
    assert time.process_time() - start < 300 * 0.05


def aged(text, age):
    """A graph as MXNet 0.8 wrote it, as 0.9 to 0.12 did, or as it is since 1.0."""
    told = json.loads(text)
    for node in told["nodes"] if age < 10 else []:
        attributes = node.pop("attrs", {})
        if age == 9:
            node["attr"] = attributes
            continue
        node["param"] = {key: value for key, value in attributes.items() if not key.startswith("__")}
        old = {"__lr_mult__": "lr_mult", "__wd_mult__": "wd_mult", "__ctx_group__": "ctx_group"}
        node["attr"] = {old.get(key, key): value for key, value in attributes.items() if key.startswith("__")}
        node["backward_source_id"] = -1
        node["inputs"] = [pair[:2] for pair in node["inputs"]]
    if age == 8:
        told = {
            "nodes": told["nodes"],
            "arg_nodes": told["arg_nodes"],
            "heads": [p[:2] for p in told["heads"]],
        }
    return json.dumps(told)


@pytest.mark.parametrize("name", NETS)
def test_a_graph_is_the_same_whenever_it_was_written(name):
    now = sym.load_json(saved(name)).tojson()
    assert sym.load_json(aged(saved(name), 8)).tojson() == sym.load_json(aged(saved(name), 9)).tojson() == now


@pytest.mark.parametrize("seed", seeds(200))
def test_a_damaged_graph_of_any_age_is_read_or_refused_by_file_and_place(seed, tmp_path):
    text = aged(saved(NETS[seed % len(NETS)]), 8 + seed % 3)
    damaged = damaged_json(text, seed)
    (tmp_path / "net.json").write_bytes(damaged)
    said = ""
    tracemalloc.start()
    start = time.process_time()
    try:
        sym.load(str(tmp_path / "net.json")).tojson()
    except FormatError as error:
        said = str(error)
    taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not said or re.search(r"net\.json(: byte \d+ |, node \d+|, head \d+| is no | has no heads)", said)
    assert said.isprintable()
    assert len(said) < 1000
    assert peak < 4 * len(damaged) + 2**26
    assert taken < 2


def test_a_large_graph_loads_in_linear_time():
    def seconds(size):
        """What this process needs for a graph of this size, the best of three."""
        x = sym.Variable("x")
        for _ in range(size):
            x = x + 1
        text, found = x.tojson(), []
        for _ in range(3):
            start = time.process_time()
            sym.load_json(text)
            found.append(time.process_time() - start)
        return min(found)

    assert seconds(8_000) < 8 * seconds(2_000)  # 4 times is linear, 16 times quadratic


def test_the_recorded_networks_are_all_there():
    assert sorted(load_cases("golden_nets")) == NETS


@pytest.mark.parametrize("name", ["Activation", "LeakyReLU", "Pooling", "Convolution", "softmax"])
def test_a_message_quotes_no_more_than_the_beginning_of_an_attribute(name):
    key = {"Pooling": "pool_type", "Convolution": "layout", "softmax": "axis"}.get(name, "act_type")
    more = {"kernel": "(1, 1)", "num_filter": "1"} if name == "Convolution" else {}
    attributes = {key: "(" * 5000, **more, **({"kernel": "(1, 1)"} if name == "Pooling" else {})}
    graph = entry(op=name, attrs=attributes)
    with pytest.raises(FormatError, match=key) as caught:
        sym.load_json(json.dumps(graph))
    assert len(str(caught.value)) < 1000
