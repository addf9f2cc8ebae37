# make lesson    the eight networks, their numbers and pictures, in lesson-out/
# make test      every test
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help lesson test check bench bench-peers nightly alarms

help:
	@sed -n 's/^# make/make/p' Makefile

# The stamps tell what is installed already, so that a second run starts at once.
$(VENV)/.base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	-$(BIN)/python -m pip install --quiet --editable '.[fast]'  # where numba has no wheel, its tests are skipped
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

lesson: $(VENV)/.base
	$(BIN)/tinygrad-lesson run --page --out lesson-out

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses 2

# make check     lint, format and types
check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make nightly   the property tests with 200 examples each
nightly: $(VENV)/.test
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest --numprocesses 2

# make alarms    every op at 1,000 seeds: right rules must pass the gradient check (half an hour on one core)
alarms: $(VENV)/.test
	CHECK_SEEDS=1000 $(BIN)/python -m pytest --numprocesses 2 tests/test_check_alarms.py

# make bench     timings (pytest-benchmark)
bench: $(VENV)/.test
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --override-ini "addopts=" -q

# make bench-peers   the same work by PyTorch, JAX, MXNet, autograd, MyGrad and C (installed into .peers/; half an hour)
bench-peers: $(VENV)/.test
	$(BIN)/python tests/benchmarks/peers.py --install
