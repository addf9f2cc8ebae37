"""What a measurement ran on is printed: runner, seed, threads."""

import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.run import available_runners


@pytest.mark.parametrize("runner", available_runners())
def test_the_configuration_names_runner_seed_and_threads(runner, monkeypatch, capsys):
    for name, value in {"RUNNER": runner, "THREADS": "3"}.items():
        monkeypatch.setenv(f"TINYGRAD_LESSON_{name}", value)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    tl.random.seed(42)
    tl.show_config()
    found = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.replace("threads of ", "").splitlines()
    )
    assert found["runner"].startswith(f"{runner} (of numpy")
    assert found["seed"] == "42"
    assert found["BLAS"] == "5"
    assert found["loops"].startswith("3;")
    assert found["tinygrad_lesson"] == tl.__version__
    tl.random.seed(0)
