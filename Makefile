# Everything happens in a virtual environment of the project's own: nothing else is changed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help quickstart test test-fast lint check format clean

help:
	@echo "make quickstart  install, run jobs/quickstart.yaml on a local Ray, show the leaderboard"
	@echo "make test        install what tests need and run them all"
	@echo "make test-fast   the tests that need neither Ray nor network hosts, without the slow ones"
	@echo "make lint        ruff, mypy and import-linter"
	@echo "make check       lint and test, as continuous integration does"
	@echo "make format      let ruff format the code"
	@echo "make clean       remove the virtual environment and caches, never results"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "flexkd needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# The exact versions that were tested. Python compiles what is imported, when it is imported: compiling
# every file of every package takes a minute longer.
$(VENV)/.quickstart: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV): a few minutes the first time"
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[quickstart]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV): a few minutes the first time"
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.quickstart

quickstart: $(VENV)/.quickstart
	$(BIN)/flexkd run jobs/quickstart.yaml

# Three processes: one runs what starts hosts, one what starts Ray, the third everything else.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 3

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not ray and not hosts and not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports --no-logo

check: lint test

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
