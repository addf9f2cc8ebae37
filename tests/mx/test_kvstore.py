"""`mx.kvstore`: the numbers are what MXNet 1.9.1 gives for the same calls."""

import numpy as np
import pytest

from tinygrad_lesson import mx


def test_what_is_pushed_is_summed_and_takes_the_place_of_what_is_stored():
    store, out = mx.kv.create("local"), mx.nd.zeros((2, 3))
    assert (store.type, store.rank, store.num_workers) == ("local", 0, 1)
    start = mx.nd.ones((2, 3)) * 2
    store.init(3, start)
    start[:] = 9
    for pushed, expected in ((None, 2), (mx.nd.ones((2, 3)) * 8, 8), ([mx.nd.ones((2, 3))] * 4, 4)):
        if pushed is not None:
            store.push(3, pushed)
        store.pull(3, out=out)
        np.testing.assert_array_equal(out.asnumpy(), np.full((2, 3), expected))


def test_several_keys_and_several_arrays_for_each():
    store, out = mx.kvstore.create("device"), [mx.nd.zeros(2) for _ in range(4)]
    store.init(["a", "b"], [mx.nd.ones(2)] * 2)
    store.push(["a", "b"], [[mx.nd.ones(2)] * 2, [mx.nd.ones(2) * 3] * 2])
    store.pull(["a", "b"], out=[out[:2], out[2:]])
    assert [x.asnumpy().tolist() for x in out] == [[2, 2], [2, 2], [6, 6], [6, 6]]


def test_an_updater_changes_what_is_stored():
    keys, out, store = [], mx.nd.zeros(2), mx.kv.create()

    def add_twice(key, pushed, stored):
        keys.append(key)
        stored += pushed * 2

    store._set_updater(add_twice)
    store.init(9, mx.nd.ones(2))
    store.push(9, [mx.nd.ones(2)] * 3)
    store.pull(9, out)
    assert out.asnumpy().tolist() == [7, 7]
    store.pushpull(9, mx.nd.ones(2), out=out)
    assert out.asnumpy().tolist() == [9, 9]
    assert keys == [9, 9]


def test_an_optimizer_has_its_states_in_a_file(tmp_path):
    def after(steps, store):
        for _ in range(steps):
            store.push("w", mx.nd.ones(2))
        out = mx.nd.zeros(2)
        store.pull("w", out)
        return out.asnumpy()

    def fresh(weight):
        store = mx.kv.create()
        store.set_optimizer(mx.optimizer.SGD(learning_rate=0.5, momentum=0.5))
        store.broadcast("w", weight, out=mx.nd.zeros(2))
        return store

    store = fresh(mx.nd.ones(2))
    np.testing.assert_allclose(after(2, store), 1 - 0.5 - 0.75)
    store.save_optimizer_states(str(tmp_path / "states"))
    other = fresh(mx.nd.full(2, -0.25))
    other.load_optimizer_states(str(tmp_path / "states"))
    np.testing.assert_allclose(after(1, other), -0.25 - 0.875)


def test_what_a_store_refuses():
    store = mx.kv.create()
    store.init(9, mx.nd.ones(2))
    for wrong, told in (
        (lambda: store.init("s", mx.nd.ones(2)), "Mixed key types are not allowed"),
        (lambda: store.push(77, mx.nd.ones(2)), "key 77 has not been inited"),
        (lambda: store.pull(77, mx.nd.ones(2)), "key 77 has not been inited"),
        (lambda: store.init(9, mx.nd.ones(2)), "duplicate init of key 9"),
        (lambda: store.push(9, mx.nd.ones(3)), "shape"),
        (lambda: store.save_optimizer_states("x"), "call set_optimizer first"),
        (lambda: store.row_sparse_pull(9), "sparse storage is not here"),
        (lambda: store.set_gradient_compression({"type": "2bit"}), "not supported for this type of kvstore"),
        (lambda: mx.kv.create("dist_async"), "'dist_async' is not here; known: local"),
    ):
        with pytest.raises(mx.MXNetError, match=told):
            wrong()
    with pytest.raises(TypeError, match="expected a string"):
        mx.kv.create(3)
