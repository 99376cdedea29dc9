# Two commands do everything: `make run` and `make test`. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
PARALLEL ?= 4

.PHONY: run test test-slow test-gpu lint bench knobs wheel clean help

run: $(VENV)/.installed ## set up if needed, train the built-in experiment, open the dashboard on it
	@$(BIN)/steptop run quickstart --open

# Tests of real processes share the cores with each other and with whatever else runs here: what fails is tried once
# more by itself, and both are on the screen.
test: $(VENV)/.installed-dev ## the whole test suite
	@$(BIN)/python -m pytest -n $(PARALLEL) --dist loadgroup || \
	  { echo "Once more, one at a time: what failed beside others"; \
	    $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 5; }

test-slow: $(VENV)/.installed-dev ## tests that take minutes
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.installed-dev ## tests that need a CUDA device; without one each is skipped and says so
	$(BIN)/python -m pytest -m gpu -rs

lint: $(VENV)/.installed-dev ## ruff, mypy --strict, layer rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

bench: $(VENV)/.installed-dev ## the measured figures of the README
	$(BIN)/python -m tests.benchmarks

knobs: $(VENV)/.installed ## write the README's table of knobs anew
	$(BIN)/python -m engine.config.knob_table README.md

wheel: $(VENV)/.installed-dev ## dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation

clean: ## remove the environment and build leftovers; logs/ stays
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "steptop needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "No environment could be made; on Debian or Ubuntu: apt install python3-venv"; exit 2; }

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (torch is the large part) ..."
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) -e '.[dev]'
	@touch $@
