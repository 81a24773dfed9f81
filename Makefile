# `make demo` and `make test` do all the set-up on a fresh machine, and start in seconds after it.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: demo test lint install

demo: .venv/installed
	$(BIN)/actionwatch run configs/demo.yaml $(ARGS)

# Three processes, each with whole files: often a test waits for another program, or for frames.
test: .venv/installed-dev
	$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

install: .venv/installed

# torch first and by itself: asked for together with the rest, pip may choose a build with
# gigabytes of CUDA libraries over the one that the constraints allow.
.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	touch $@

.venv/installed: pyproject.toml constraints.txt .venv/torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
