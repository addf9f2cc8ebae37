"""MXNet's update operators: steps of optimizers, on arrays or in a graph."""

from __future__ import annotations

from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet import built
from tinygrad_lesson.mxnet.register import operator
from tinygrad_lesson.ops import adaptive, decoupled, multi, updates

PREPARED = "wd rescale_grad clip_gradient"
LAMB = f"beta1 beta2 epsilon t bias_correction {PREPARED}"
ADAMW = "lr beta1 beta2 epsilon wd eta clip_gradient"
UPDATES: dict[str, tuple[type[Op], str]] = {  # with the order of their attributes
    "sgd_update": (updates.SgdUpdate, f"lr {PREPARED} lazy_update"),
    "sgd_mom_update": (updates.SgdMomUpdate, f"lr momentum {PREPARED} lazy_update"),
    "mp_sgd_update": (updates.MpSgdUpdate, f"lr {PREPARED} lazy_update"),
    "mp_sgd_mom_update": (updates.MpSgdMomUpdate, f"lr momentum {PREPARED} lazy_update"),
    "nag_mom_update": (updates.NagMomUpdate, f"lr momentum {PREPARED}"),
    "mp_nag_mom_update": (updates.MpNagMomUpdate, f"lr momentum {PREPARED}"),
    "signsgd_update": (updates.SignsgdUpdate, f"lr {PREPARED}"),
    "signum_update": (updates.SignumUpdate, f"lr momentum {PREPARED} wd_lh"),
    "adam_update": (adaptive.AdamUpdate, f"lr beta1 beta2 epsilon {PREPARED} lazy_update"),
    "rmsprop_update": (adaptive.RmspropUpdate, f"lr gamma1 epsilon {PREPARED} clip_weights"),
    "rmspropalex_update": (adaptive.RmspropalexUpdate, f"lr gamma1 gamma2 epsilon {PREPARED} clip_weights"),
    "ftrl_update": (adaptive.FtrlUpdate, f"lr lamda1 beta {PREPARED}"),
    "_sparse_adagrad_update": (adaptive.SparseAdagradUpdate, f"lr epsilon {PREPARED}"),
    "lamb_update_phase1": (adaptive.LambUpdatePhase1, LAMB),
    "mp_lamb_update_phase1": (adaptive.MpLambUpdatePhase1, LAMB),
    "mp_lamb_update_phase2": (adaptive.MpLambUpdatePhase2, "lr lower_bound upper_bound"),
    "lamb_update_phase2": (adaptive.LambUpdatePhase2, "lr lower_bound upper_bound"),
}

MULTI = (
    multi.MultiSgdUpdate, multi.MultiSgdMomUpdate, multi.MultiMpSgdUpdate, multi.MultiMpSgdMomUpdate,
    multi.PreloadedMultiSgdUpdate, multi.PreloadedMultiSgdMomUpdate, multi.PreloadedMultiMpSgdUpdate,
    multi.PreloadedMultiMpSgdMomUpdate,
)  # fmt: skip


def declare() -> None:
    """Enter the update operators."""
    zero = dict.fromkeys(("mean", "var"), '["zero", {}]')
    for name, (cls, order_) in UPDATES.items():
        operator(name, cls, ignored=frozenset({"lazy_update"}), order=order_, initial=zero)
    operator(
        "ftml_update",
        built.ftml_update,
        inputs=("weight", "grad", "d", "v", "z"),
        order="lr beta1 beta2 epsilon t wd rescale_grad clip_grad",
    )
    for name, adamw, single in (
        ("adamw", decoupled.AdamwUpdate, ""),
        ("mp_adamw", decoupled.MpAdamwUpdate, "weight32 "),
    ):
        inputs = f"weight grad mean var {single}rescale_grad".split()
        operator(f"_{name}_update", adamw, inputs=inputs, order=ADAMW)
    for cls in MULTI:
        operator(cls.function, cls)
