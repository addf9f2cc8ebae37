"""What can be imported and is not here says so when it is used."""

import pytest

from tinygrad_lesson import mx


class Block(mx.gluon.nn.HybridBlock):
    def __init__(self):
        super().__init__()


@mx.use_np
def in_numpy_mode():
    raise AssertionError("which is never called")


@pytest.mark.parametrize(
    "use",
    [
        Block, mx.gluon.nn.Dense, mx.gluon.Trainer, in_numpy_mode, mx.util.np_array, mx.contrib.amp.init, mx.recordio.MXRecordIO,
        mx.contrib.quantization.quantize_model, mx.nd.sparse.csr_matrix, mx.executor_manager.DataParallelExecutorGroup, mx.np.ones, mx.contrib.text.vocab, mx.gluon.data.DataLoader,
        mx.rtc.CudaModule, mx.image.imread, mx.img.ImageIter,
    ],
)  # fmt: skip
def test_its_use_says_what_to_write(use):
    with pytest.raises(mx.MXNetError, match=r"^mx\.[\w. ]+ is not here: "):
        use()


def test_it_has_no_names_of_python():
    for module in (mx.gluon, mx.gluon.nn, mx.recordio, mx.util, mx.contrib, mx):
        assert not hasattr(module, "__wrapped__")
        assert not hasattr(module, "_private")
    assert mx.util.is_np_array() is False
