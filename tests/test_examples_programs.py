"""The examples that train: each runs with few steps, writes its picture, and its gradient agrees with differences."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.eager.differential import is_float
from tinygrad_lesson.eager.nested import mapped

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    "convnet": 1,
    "gaussian_process": 2,
    "logistic_regression": 2,
    "lstm": 2,
    "neural_ode": 2,
    "newton": 2,
    "pendulum": 200,
    "physics_informed": 2,
    "transformer": 2,
    "variational_autoencoder": 2,
}  # with how many steps they run here
KINKS = ("convnet", "transformer")  # where units are rectified
H = 1e-4


@pytest.fixture(params=PROGRAMS)
def program(request, monkeypatch):
    pytest.importorskip("matplotlib", reason="the programs draw, and matplotlib is an extra")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    spec = importlib.util.spec_from_file_location(request.param, ROOT / "examples" / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_program_runs_and_writes_a_picture(program, tmp_path, capsys):
    program.main(tmp_path, steps=PROGRAMS[program.__name__])
    program.plt.close("all")
    assert "nan" not in capsys.readouterr().out
    (picture,) = tmp_path.iterdir()
    assert picture.name == f"{program.__name__}.png"
    assert len(np.unique(program.plt.imread(picture)[..., :3].reshape(-1, 3), axis=0)) > 2  # not empty


def test_the_gradient_of_a_program_agrees_with_differences(program):
    params, data = program.begin()
    rng = np.random.default_rng(0)
    v = mapped(lambda x: rng.normal(size=np.shape(x)) if is_float(x) else None, params)
    slope = []
    mapped(
        lambda x, g, v: slope.append(np.vdot(g.numpy(), v)) if is_float(x) else None,
        params,
        tl.grad(program.loss)(params, *data),
        v,
    )

    def along(h):
        moved = mapped(lambda x, v: x + h * v if is_float(x) else x, params, v)
        with tl.no_grad():
            return program.loss(moved, *data).item()

    told = 4 / 3 * (along(H) - along(-H)) / (2 * H) - 1 / 3 * (along(2 * H) - along(-2 * H)) / (4 * H)
    if program.__name__ in KINKS:  # a longer step would cross some
        told = (along(1e-7) - along(-1e-7)) / 2e-7
    assert sum(slope) == pytest.approx(told, rel=1e-6)
