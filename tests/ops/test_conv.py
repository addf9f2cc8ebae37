"""Corners of convolution and pooling; expected numbers by SciPy, by loops, or worked out by hand."""

import itertools

import numpy as np
import pytest
from scipy import signal

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, cpu, grad, sym
from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.ops.conv import Convolution, Im2Col
from tinygrad_lesson.ops.pool import Pooling
from tinygrad_lesson.run import RUNNERS

GENERATOR = np.random.default_rng(5)


def carried_out(symbol, runner, **arrays):
    """The output and the gradients of its sum, from a plan."""
    gradients = {name: np.zeros_like(x) for name, x in arrays.items()}
    executor = symbol.bind(cpu(), arrays, args_grad=gradients)
    executor.runner_name = runner
    (y,) = executor.forward(is_train=True)
    executor.backward([np.ones_like(y.asnumpy())])
    return y.asnumpy(), gradients, executor


def test_a_window_slides_with_stride_pad_and_gaps():
    image, kernel = GENERATOR.normal(size=(9, 8)), GENERATOR.normal(size=(3, 2))
    spread = np.zeros((3, 4))
    spread[:, ::3] = kernel
    expected = signal.correlate(np.pad(image, ((1, 1), (2, 2))), spread, mode="valid")[::2]
    window = {"kernel": (3, 2), "stride": (2, 1), "pad": (1, 2), "dilate": (1, 3)}
    y = tl.convolution(image[None, None], kernel[None, None], num_filter=1, no_bias=True, **window)
    np.testing.assert_allclose(y.numpy()[0, 0], expected, rtol=1e-12)


def test_channels_of_different_groups_do_not_mix():
    data, weight = GENERATOR.normal(size=(2, 4, 6)), GENERATOR.normal(size=(4, 2, 3))
    y = tl.convolution(data, weight, np.arange(4.0), kernel=(3,), num_filter=4, num_group=2).numpy()
    for n, f in itertools.product(range(2), range(4)):
        own = data[n, 2 * (f // 2) : 2 * (f // 2) + 2]
        expected = sum(np.correlate(x, w) for x, w in zip(own, weight[f], strict=True)) + f
        np.testing.assert_allclose(y[n, f], expected, rtol=1e-12)


@pytest.mark.parametrize(("convention", "count"), [("valid", 2), ("full", 3), ("same", 3)])
def test_conventions_differ_in_how_many_windows_there_are(convention, count):
    op = Pooling(kernel=(2,), stride=(2,), pooling_convention=convention)
    assert op.shape((1, 1, 5)) == (1, 1, count)
    assert Pooling(kernel=(3,), stride=(1,), pooling_convention="same").shape((1, 1, 5)) == (1, 1, 5)


def test_a_window_that_sticks_out_takes_what_there_is():
    data = -np.arange(1.0, 6.0).reshape(1, 1, 5)
    common = {"kernel": (2,), "stride": (2,), "pooling_convention": "full"}
    assert tl.pooling(data, pool_type="max", **common).numpy().tolist() == [[[-1, -3, -5]]]
    assert tl.pooling(data, pool_type="sum", **common).numpy().tolist() == [[[-3, -7, -5]]]
    assert tl.pooling(data, pool_type="avg", **common).numpy().tolist() == [[[-1.5, -3.5, -5]]]


@pytest.mark.parametrize(("include", "expected"), [(True, [0.5, 2, 1.5]), (False, [1, 2, 3])])
def test_a_mean_counts_the_padding_or_not(include, expected):
    settings = {"kernel": (2,), "stride": (1,), "pad": (1,), "pool_type": "avg", "count_include_pad": include}
    y = tl.pooling(np.array([[[1.0, 3.0]]]), **settings)
    assert y.numpy().tolist() == [[expected]]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("stride", "expected"), [(2, [[1, 0], [0, 0]]), (1, [[1, 0], [0, 0]])])
def test_the_first_of_several_largest_elements_gets_the_gradient(runner, stride, expected):
    symbol = sym.Pooling(sym.Variable("x"), kernel=(2, 2), stride=(stride, stride))
    x = np.ones((1, 1, 2, 2), np.float32)
    assert carried_out(symbol, runner, x=x)[1]["x"][0, 0].tolist() == expected
    dx = grad(lambda t: tl.pooling(t, kernel=(2, 2), stride=(stride, stride)).sum())(x)
    assert dx.numpy()[0, 0].tolist() == expected


def test_an_element_gets_the_gradients_of_all_windows_in_which_it_is_the_first_of_the_largest():
    x = np.array([[[1.0, 5.0, 5.0, 2.0, 2.0]]])
    g = Tensor([1.0, 10.0, 100.0, 1000.0])
    dx = grad(lambda t: (tl.pooling(t, kernel=(2,), stride=(1,)) * g).sum())(x)
    assert dx.numpy().tolist() == [[[0, 11, 100, 1000, 0]]]


def test_the_padding_is_never_the_maximum():
    x = np.full((1, 1, 2, 2), -3.0)
    settings = {"kernel": (2, 2), "stride": (2, 2), "pad": (1, 1)}
    assert tl.pooling(x, **settings).numpy().tolist() == [[[[-3, -3], [-3, -3]]]]
    assert grad(lambda t: tl.pooling(t, **settings).sum())(x).numpy().tolist() == [[[[1, 1], [1, 1]]]]


@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
def test_a_global_window_covers_the_image_whatever_its_size(kind):
    x = GENERATOR.normal(size=(2, 3, 4, 5))
    ignored = {"kernel": (2, 2), "stride": (3, 3), "pad": (1, 1)}
    y = sym.Pooling(sym.Variable("x"), global_pool=True, pool_type=kind, **ignored)
    assert y.infer_shape_partial(x=(2, 3, 0, 5))[1] == [(2, 3, 1, 1)]
    expected = {"max": np.max, "avg": np.mean, "sum": np.sum}[kind](x, axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(tl.pooling(x, global_pool=True, pool_type=kind).numpy(), expected, rtol=1e-12)


def test_a_root_of_a_sum_that_is_zero_has_gradient_zero():
    dx = grad(lambda t: tl.pooling(t, kernel=(2,), pool_type="lp").sum())(np.zeros((1, 1, 2)))
    assert dx.numpy().tolist() == [[[0, 0]]]


@pytest.mark.parametrize("runner", RUNNERS)
def test_layers_in_a_row_agree_with_the_same_one_by_one(runner):
    shapes, k2 = ((3, 2, 9, 8), (4, 2, 2, 2), (3, 4, 2, 2)), {"kernel": (2, 2)}
    x, w1, w2 = (GENERATOR.normal(size=s).astype(np.float32) for s in shapes)

    def network(F, activation, x, w1, w2):
        y = activation(F.Convolution(x, w1, num_filter=4, no_bias=True, **k2))
        y = F.Convolution(F.Pooling(y, stride=(2, 2), **k2), w2, num_filter=3, no_bias=True, **k2)
        return F.Pooling(y, pool_type="avg", **k2)

    class Eager:
        Pooling, Convolution = staticmethod(tl.pooling), staticmethod(tl.convolution)

    tensors = [Tensor(a, requires_grad=True) for a in (x, w1, w2)]
    expected = network(Eager, lambda y: tl.tanh(tl.abs(y)), *tensors)
    expected.sum().backward()
    names = [sym.Variable(name) for name in ("x", "w1", "w2")]
    symbol = network(sym, lambda y: sym.tanh(sym.abs(y)), *names)
    found, gradients, executor = carried_out(symbol, runner, x=x, w1=w1, w2=w2)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    for gradient, tensor in zip(gradients.values(), tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-4, atol=1e-5)
    forward = str(executor.plan()).partition("backward")[0]
    assert forward.count("Transpose") == 2  # of the data and of the result


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_result_between_two_layers_can_be_had_too(runner):
    x, weight = GENERATOR.normal(size=(2, 1, 4, 4)), GENERATOR.normal(size=(2, 1, 3, 3))
    names = sym.Variable("x"), sym.Variable("weight")
    between = sym.relu(sym.Convolution(*names, kernel=(3, 3), num_filter=2, no_bias=True))
    both = sym.Group([between, sym.Pooling(between, kernel=(2, 2))])
    executor = both.bind(cpu(), {"x": x, "weight": weight})
    executor.runner_name = runner
    first, second = executor.forward()
    expected = np.array([[signal.correlate(image[0], w[0], mode="valid") for w in weight] for image in x])
    np.testing.assert_allclose(first.asnumpy(), np.maximum(expected, 0), rtol=1e-12)
    np.testing.assert_array_equal(second.asnumpy(), first.asnumpy().max(axis=(2, 3), keepdims=True))


def test_a_relu_before_a_maximum_comes_after_it_with_the_same_gradient():
    x = np.array([[[-1.0, 0.0, 0.0, 0.0, -2.0, -3.0, 4.0, 4.0]]])
    y = sym.Pooling(sym.relu(sym.Variable("x")), kernel=(2,), stride=(2,))
    found, gradients, executor = carried_out(y, "numpy", x=x)
    assert found.tolist() == [[[0, 0, 0, 4]]]
    assert gradients["x"].tolist() == [[[0, 0, 0, 0, 0, 0, 1, 0]]]
    forward = str(executor.plan()).partition("backward")[0]
    assert forward.index("Pooling") < forward.index("Relu")


def test_shapes_of_weight_and_bias_follow_from_the_data():
    y = sym.Convolution(sym.Variable("data"), kernel=(3, 3), num_filter=6, num_group=2, name="c")
    arguments = [(0, 4, 5, 5), (6, 2, 3, 3), (6,)]
    assert y.infer_shape_partial(data=(0, 4, 5, 5)) == (arguments, [(0, 6, 3, 3)], [])
    y = sym.Convolution(sym.Variable("data"), kernel=(3, 3), num_filter=6, no_bias=True, name="c")
    assert y.list_arguments() == ["data", "c_weight"]


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        (Convolution(kernel=(3, 3), num_filter=1), (1, 1, 5), "channel and 2 more for kernel"),
        (Convolution(kernel=(3,), num_filter=2, num_group=2), (1, 3, 5), "channels in 2 equal groups"),
        (Pooling(kernel=(2,)), (1, 1, 5, 5), r"data is \(1, 1, 5, 5\), .* and one more for kernel"),
        (Pooling(kernel=(2, 6), pad=(0, 0)), (1, 1, 5, 5), "over 6 elements does not fit .* 5 with pad 0"),
        (Im2Col(kernel=(1,), num_group=2), (3, 5, 1), r"\(3, 5, 1\), expected channels in 2 equal groups"),
        (Pooling(global_pool=True), (3, 4), r"\(3, 4\), expected"),
    ],
    ids=lambda case: getattr(case, "name", None),
)  # fmt: skip
def test_an_image_that_the_window_does_not_fit_is_refused(op, shape, message):
    others = [None] * (len(op.input_names) - 1)
    with pytest.raises(ShapeError, match=message):
        op.complete([shape, *others], [None])


@pytest.mark.parametrize(
    ("cls", "attributes", "message"),
    [
        (Convolution, {"kernel": (3, 0)}, r"kernel is \(3, 0\), expected a size of at least 1"),
        (Convolution, {"kernel": (3, 3), "dilate": (2,)}, r"dilate is \(2,\), .* in kernel \(3, 3\)"),
        (Pooling, {"kernel": (2,), "pad": (-1,)}, r"pad is \(-1,\), expected a size of at least 0"),
        (Convolution, {"kernel": (3,), "num_filter": 3, "num_group": 2}, "a multiple of num_group 2"),
        (Pooling, {"kernel": (2,), "pool_type": "median"}, r"pool_type is 'median', expected one of 'max'"),
        (Pooling, {"kernel": (2,), "p_value": 4}, r"p_value is 4, expected one of 1, 2, 3"),
    ],
    ids=lambda case: getattr(case, "name", None),
)  # fmt: skip
def test_an_attribute_that_makes_no_sense_is_refused(cls, attributes, message):
    with pytest.raises(AttributeValueError, match=message):
        cls(**attributes)


def test_mxnets_spelling_takes_its_attributes_as_texts_and_ignores_those_for_tuning():
    x = sym.Variable("data")
    tuning = {"workspace": 1024, "cudnn_tune": "off", "layout": "NCHW"}
    y = sym.Convolution(x, kernel="(3, 3)", num_filter="4", name="c", **tuning)
    assert y.infer_shape(data=(1, 1, 5, 5))[1] == [(1, 4, 3, 3)]
    with pytest.raises(AttributeValueError, match="layout is 'NHWC', expected one of NCW, NCHW, NCDHW"):
        sym.Pooling(x, kernel=(2, 2), layout="NHWC")
    with pytest.raises(AttributeValueError, match="p_value is missing"):
        sym.Pooling(x, kernel=(2, 2), pool_type="lp")


@pytest.mark.parametrize("runner", RUNNERS)
def test_many_steps_allocate_and_change_nothing_but_the_results(runner):
    x = GENERATOR.normal(size=(2, 2, 6, 6)).astype(np.float32)
    weight, bias = GENERATOR.normal(size=(3, 2, 3, 3)).astype(np.float32), np.ones(3, np.float32)
    names = [sym.Variable(name) for name in ("x", "weight", "bias")]
    window = {"kernel": (3, 3), "pad": (1, 1)}
    y = sym.Pooling(sym.Convolution(*names, num_filter=3, **window), stride=(2, 2), **window)
    first, gradients, executor = carried_out(y, runner, x=x, weight=weight, bias=bias)
    kept = {name: g.copy() for name, g in gradients.items()}
    for _ in range(2):
        np.testing.assert_array_equal(executor.forward(is_train=True)[0].asnumpy(), first)
        executor.backward([np.ones_like(first)])
        for name, g in gradients.items():
            np.testing.assert_array_equal(g, kept[name])


def test_steps_of_a_plan_are_replayed():
    names = [sym.Variable(name) for name in ("x", "weight", "bias")]
    y = sym.Pooling(sym.Convolution(*names, kernel=(3, 3), num_filter=3), kernel=(2, 2), stride=(2, 2))
    arrays = {"x": np.ones((2, 2, 6, 6)), "weight": np.ones((3, 2, 3, 3)), "bias": np.ones(3)}
    *_, executor = carried_out(y, "numpy", **arrays)
    run = executor.runner(True)
    assert not any(hasattr(call, "__closure__") and call.__closure__ for part in run.calls for call in part)


@pytest.mark.parametrize("runner", ["eager", *RUNNERS])
@pytest.mark.parametrize("pool_type", ["avg", "sum", "lp"])
@pytest.mark.parametrize("kind", ["uint8", "int8", "bool", "float16"])
def test_what_is_pooled_is_added_up_where_there_is_room(kind, pool_type, runner):
    x = (np.arange(2 * 1 * 8 * 8).reshape(2, 1, 8, 8) + (800 if kind == "float16" else 0)).astype(kind)

    def f(x):
        return tl.pooling(x, kernel=(8, 8), pool_type=pool_type)

    y = (f if runner == "eager" else tl.jit(f, runner=runner))(x).numpy()
    wide = x.astype(float)
    expected = {"avg": wide.mean((2, 3)), "sum": wide.sum((2, 3)), "lp": np.sqrt((wide**2).sum((2, 3)))}[
        pool_type
    ]
    np.testing.assert_allclose(y[:, :, 0, 0].astype(float), expected, rtol=1e-3)
    assert y.dtype == (kind if kind == "float16" else np.sum(x).dtype if pool_type == "sum" else np.float64)


def test_the_gradient_of_a_mean_over_a_large_image_is_no_zero_in_half_precision():
    x = np.ones((1, 1, 257, 256), np.float16)  # more elements than the largest number of that type
    dx = grad(lambda t: tl.sum(tl.pooling(t, global_pool=True, pool_type="avg")))(x).numpy()
    np.testing.assert_allclose(dx.astype(float), 1 / (257 * 256), rtol=1e-2)


def test_gradients_of_windows_that_overlap_are_added_up_in_single():
    x = Tensor(np.ones((1, 1, 5999), np.float16), requires_grad=True)
    y = tl.pooling(x, kernel=(3000,), pool_type="sum")
    y.backward(np.ones(y.shape))
    dx = x.grad.numpy()
    expected = np.minimum(np.arange(1, 6000), np.arange(5999, 0, -1))  # how many windows see each
    np.testing.assert_allclose(dx[0, 0].astype(float), expected, rtol=2e-3)


def test_gradients_of_windows_that_share_a_maximum_are_added_up_in_single():
    x = np.zeros((1, 1, 5999), np.float16)
    x[0, 0, 2999] = 1  # which every window sees
    leaf = Tensor(x, requires_grad=True)
    y = tl.pooling(leaf, kernel=(3000,), pool_type="max")
    y.backward(np.ones(y.shape))
    assert leaf.grad.numpy()[0, 0, 2999] == 3000
