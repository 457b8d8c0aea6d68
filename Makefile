# Two commands from a bare clone: `make bench` and `make test`. Both make .venv first, with nothing but Python and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(shell date +%Y%m%d-%H%M%S)
# What the tests may use beside pcsim: EXTRAS=test,mpi brings MPI, and with it the tests that start ranks.
EXTRAS ?= test
RESULTS ?= results/bench-$(STAMP).jsonl

.PHONY: bench benchmarks test check clean

bench: $(VENV)/installed
	@mkdir -p $(dir $(RESULTS))
	$(BIN)/pcsim bench --out $(RESULTS)
	@$(BIN)/pcsim plot $(RESULTS) --out $(RESULTS:.jsonl=.png)
	@$(BIN)/pcsim plot $(RESULTS) --times --out $(RESULTS:.jsonl=-times.png)
	@$(BIN)/pcsim plot $(RESULTS) --gains --out $(RESULTS:.jsonl=-gains.png)

benchmarks: $(VENV)/tested
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,iqr,rounds --benchmark-autosave $(PYTEST)

test: $(VENV)/tested
	$(BIN)/python -m pytest $(PYTEST)

check: $(VENV)/checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pcsim needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/checked: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
