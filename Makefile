# make lesson         the eight networks, their numbers and pictures, in lesson-out/
# make test           every test
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PLAIN = .venv-plain
LOWEST = .venv-lowest
PYTEST = -m pytest --numprocesses 2 --dist worksteal
TOO_NEW = "the oldest versions have no wheels for this Python: make test-lowest PYTHON=python3.11"

.PHONY: help lesson docs test test-plain test-lowest test-gpu test-packages check bench bench-peers nightly alarms

help:
	@sed -n 's/^# make/make/p' Makefile

# The stamps tell what is installed already, so that a second run starts at once.
$(VENV)/.base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	-$(BIN)/python -m pip install --quiet --editable '.[fast]'  # where llvmlite has no wheel, its tests are skipped
	-$(BIN)/python -m pip install --quiet --editable '.[docs]'  # the same for the site, which a test builds
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

lesson: $(VENV)/.base
	$(BIN)/tinygrad-lesson run --page --out lesson-out

test: $(VENV)/.test
	$(BIN)/python $(PYTEST)

# make test-plain     every test without llvmlite and the other extras; TESTS="tests/eager/test_jit.py ..." runs some
$(PLAIN)/.test: pyproject.toml
	test -x $(PLAIN)/bin/python || $(PYTHON) -m venv $(PLAIN)
	$(PLAIN)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

test-plain: $(PLAIN)/.test
	$(PLAIN)/bin/python $(PYTEST) $(TESTS)

# make test-lowest    every test with the oldest version of everything that pyproject.toml admits (Python 3.11 or 3.12)
$(LOWEST)/.test: pyproject.toml .ci/lowest.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13) and $(TOO_NEW))'
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --only-binary :all: --constraint $(LOWEST)/constraints.txt --editable '.[test,fast]'
	touch $@

test-lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python $(PYTEST) $(TESTS)

# make test-gpu       every op, the networks and their training on a card, then its speed; skipped, with the reason, where there is none
test-gpu: $(VENV)/.test
	$(BIN)/python -m pytest -q -p no:xdist -rs -m card tests/gpu
	$(BIN)/python tests/benchmarks/on_card.py

# make test-packages  wheel and source archive, each installed alone on each of PYTHONS: the lesson and the archive's tests
PYTHONS ?= $(PYTHON)
test-packages:
	.ci/packages $(PYTHONS)

# make docs           the site, in docs/_build/html: runs every notebook (two minutes at first, seconds after that)
$(VENV)/.docs: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# make check          lint, format and types
check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make nightly        the property tests with 200 examples each, of the second order too (an hour and a half of two cores)
nightly: $(VENV)/.test
	HYPOTHESIS_PROFILE=nightly $(BIN)/python $(PYTEST)

# make alarms         every op at 1,000 seeds: right rules must pass the gradient check (two hours of two cores)
alarms: $(VENV)/.test
	CHECK_SEEDS=1000 $(BIN)/python $(PYTEST) tests/check/test_check_alarms.py

# make bench          timings (pytest-benchmark)
bench: $(VENV)/.test
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --override-ini "addopts=" -q

# make bench-peers    the same work by PyTorch, JAX, MXNet, autograd, MyGrad and C (installed into .peers/; half an hour)
bench-peers: $(VENV)/.test
	$(BIN)/python tests/benchmarks/peers.py --install
