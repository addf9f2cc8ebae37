"""Arguments have the names and places that MXNet 1.9.1 has for them, of which `signatures.json` lists its own."""

import inspect
import json
import operator
from pathlib import Path

import pytest

from tinygrad_lesson import mx

SIGNATURES = json.loads((Path(__file__).parents[1] / "data" / "signatures.json").read_text())
ABSENT = {  # not here: sparse storage, NumPy mode, several devices, what MXNet itself calls deprecated or internal
    "attribute.AttrScope.get", "context.gpu_memory_info", "io.MXDataIter", "metric.PearsonCorrelation.update_cov",
    "module.BaseModule.get_input_grads", "module.BaseModule.get_states", "module.BaseModule.set_states",
    "module.BucketingModule.get_states", "module.BucketingModule.set_states", "ndarray.get_indexing_dispatch_code",
    "ndarray.get_oshape_of_gather_nd_op", "ndarray.indexing_key_expand_implicit_axes",
    "operator.CustomOpProp.infer_storage_type", "operator.CustomOpProp.infer_storage_type_backward",
    "optimizer.Optimizer.set_lr_scale", "optimizer.Updater.sync_state_context", "rnn.BaseConvRNNCell",
    "rnn.ConvGRUCell", "rnn.ConvLSTMCell", "rnn.ConvRNNCell", "rnn.rnn_unroll", "symbol.Symbol.get_backend_symbol",
    "symbol.Symbol.gradient", "symbol.Symbol.optimize_for",
}  # fmt: skip
RATE_FIRST = {"AdaDelta", "AdaGrad", "DCASGD", "FTML", "Ftrl", "LARS", "LBSGD", "NAG", "Optimizer", "SGD"}
BY_NAME_ALONE = {  # the last of MXNet's arguments have to be named here, or are not there
    "io.NDArrayIter", "model.FeedForward.save", "model.save_checkpoint", "ndarray.empty", "ndarray.from_numpy",
    "ndarray.random.multinomial", "optimizer.Adam", "symbol.Group", "symbol.Symbol.list_attr",
    "symbol.Symbol.simple_bind", "test_utils.compare_optimizer",
}  # fmt: skip
OTHER_NAMES = {
    "metric.CompositeEvalMetric.update_dict",
    "metric.Loss.update",
    "ndarray.power",
    "rnn.ModifierCell.begin_state",
}
OTHER_NAMES |= {"test_utils.assign_each", "test_utils.mean_check", "test_utils.var_check"}


@pytest.mark.parametrize("name", sorted(SIGNATURES.keys() - ABSENT))
def test_arguments_have_the_names_and_places_of_mxnet(name):
    found = list(inspect.signature(operator.attrgetter(name)(mx)).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        pytest.skip("it takes any number of arguments, and sorts them by itself")
    home, last = name.split(".")[0], name.split(".")[-1]
    ours = [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    theirs = SIGNATURES[name].split()
    if home == "optimizer" and last in RATE_FIRST:
        assert ours[0] == "learning_rate"
    elif name in BY_NAME_ALONE or (home == "metric" and "output_names" in theirs and last[0].isupper()):
        n = min(len(ours), theirs.index("output_names") if "output_names" in theirs else len(theirs) - 1)
        assert ours[:n] == theirs[:n]
    elif name in OTHER_NAMES:
        assert ours != theirs
    else:
        assert ours[: len(theirs)] == theirs
