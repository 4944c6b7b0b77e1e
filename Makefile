# Two commands: `make labs` runs the labs, `make test` runs every check. Both set up what they need, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: labs test setup engine engine-or-native lint types imports units clean

labs: setup engine-or-native
	@$(BIN)/labrun all; status=$$?; \
	  [ $$status -eq 0 ] || echo "labrun all: exit status $$status (1 a surprise, 2 a wrong lab, 3 inconclusive or broken)" >&2; \
	  exit $$status

test: setup engine $(VENV)/.dev
	@tools/see-to-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

setup: $(VENV)/.installed

engine: $(VENV)/.installed
	@tools/see-to-engine $(BIN)/python

engine-or-native: $(VENV)/.installed
	@tools/see-to-engine --or-native $(BIN)/python

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "labrun needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing. Debian, Ubuntu: apt install python3-venv" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing labrun into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.installed
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
