# From a bare clone: `make quick`, `make bench` and `make test`. All make .venv first, with nothing but Python and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv takes seconds where pip takes a minute; it is used where it is installed.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile
INSTALL := $(if $(shell command -v uv),uv pip install --compile-bytecode --python $(BIN)/python,$(PIP))
# What pip would do on one core, and without a word. Packages hold some files that are not for this Python.
BYTECODE = $(if $(shell command -v uv),true,echo "compiling bytecode" && $(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true)
STAMP := $(shell date +%Y%m%d-%H%M%S)
# What is installed: this folder, so that an edit counts at once, or a wheel: make test WHEEL=dist/pcsim-….whl
WHEEL ?=
SOURCE = $(if $(WHEEL),$(WHEEL),-e .)
# What the tests may use beside pcsim: EXTRAS=test,mpi brings MPI, and with it the tests that start ranks.
EXTRAS ?= test
# Processes that share the tests, a file at a time. Not one for each core: tests start threads and ranks of their own.
PROCESSES ?= 2
# Not python -m pytest, which would import this folder where a wheel is installed.
PYTEST_SHARED = $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
RESULTS ?= results/bench-$(STAMP).jsonl

.PHONY: quick bench benchmarks test test-quick check notebooks docs release-check clean

# A first look: four small nets, a table and a figure.
quick: $(VENV)/installed
	@mkdir -p $(dir $(RESULTS))
	$(BIN)/pcsim bench --quick --out $(RESULTS)
	@$(BIN)/pcsim plot $(RESULTS) --out $(RESULTS:.jsonl=.png)

bench: $(VENV)/installed
	@mkdir -p $(dir $(RESULTS))
	$(BIN)/pcsim bench --out $(RESULTS)
	@$(BIN)/pcsim plot $(RESULTS) --out $(RESULTS:.jsonl=.png)
	@$(BIN)/pcsim plot $(RESULTS) --times --out $(RESULTS:.jsonl=-times.png)
	@$(BIN)/pcsim plot $(RESULTS) --gains --out $(RESULTS:.jsonl=-gains.png)

benchmarks: $(VENV)/with-$(EXTRAS)
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,iqr,rounds --benchmark-autosave $(PYTEST)

test: $(VENV)/with-$(EXTRAS)
	$(PYTEST_SHARED) $(PYTEST)

# Without what takes long: ranks, notebooks, processes that measure. Compiled code is kept, under a hash of all sources.
test-quick: $(VENV)/with-$(EXTRAS)
	PCSIM_TEST_CACHE=$(VENV)/compiled $(PYTEST_SHARED) -m "not slow" $(PYTEST)

# Executes the notebooks and keeps what they show; on a quiet machine, as 03 measures seconds.
notebooks: $(VENV)/with-$(EXTRAS)
	$(BIN)/python scripts/run_notebooks.py

# Installed once for both: make check test EXTRAS=test,mpi,dev
check: $(VENV)/with-$(if $(findstring dev,$(EXTRAS)),$(EXTRAS),dev)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, without a network: docs/_build/html/index.html. A warning, such as of a link to nowhere, is an error.
docs: $(VENV)/with-$(if $(findstring docs,$(EXTRAS)),$(EXTRAS),docs)
	$(BIN)/sphinx-build -W --keep-going --quiet docs docs/_build/html

# Source distribution and wheel in dist/, and all that a release must pass, a line for each step.
release-check: $(VENV)/with-$(EXTRAS),docs,release
	$(BIN)/python scripts/release_check.py

$(VENV)/made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pcsim needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made setup.cfg pyproject.toml
	$(INSTALL) $(SOURCE)
	@$(BYTECODE)
	@touch $@

# With extras: $(VENV)/with-test,mpi.
$(VENV)/with-%: $(VENV)/made setup.cfg pyproject.toml
	$(INSTALL) $(SOURCE)'[$*]'
	@$(BYTECODE)
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/_generated docs/notebooks
