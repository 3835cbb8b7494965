# Two commands do all the set-up: `make launch` runs the main job, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: launch test lint suite long quick docs install
launch: install
	$(BIN)/sweeper launch search_spaces/quickstart.yaml

test: lint suite

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Three workers: tests wait for servers, Ray and each other half of the time. A worker that dies ends the run, which hung otherwise.
suite: install
	$(BIN)/pytest --numprocesses 3 --max-worker-restart 0 -m 'not long'

# Kills at length, where the suite kills once: before a release, and after changes to what is killed.
long: install
	$(BIN)/pytest -m long

quick: install
	$(BIN)/pytest --numprocesses 2 --max-worker-restart 0 -m 'not slow'

# The documentation as a site, in build/site.
docs: install
	$(BIN)/mkdocs build

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("sweeper needs Python 3.11 or later; got " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
