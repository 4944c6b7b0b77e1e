# Two commands: `make labs` runs the labs, `make test` runs every check. Both set up what they need, once.
# `make labs` installs Docker where there is none and it may; `make labs ENGINE=native` leaves the machine as it is.
# Python packages come from the lock files, by hash; `tools/lock` writes those. `make dist` makes what a release has.

PYTHON ?= python3
ENGINE ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: labs test setup engine engine-or-native dist

labs: setup $(if $(filter native,$(ENGINE)),,engine-or-native)
	@$(BIN)/labrun all $(if $(ENGINE),--engine $(ENGINE)); status=$$?; \
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

dist: $(VENV)/.dev
	@rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/labrun.cdx.json

$(VENV)/.installed: pyproject.toml requirements.txt | $(VENV)/bin/python
	@echo "installing labrun into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.installed
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@
