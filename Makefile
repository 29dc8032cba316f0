# Two commands are all that a fresh machine needs: `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
DEMO   ?= full

export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 1)

.PHONY: help setup demo test test-all lint docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

setup: $(VENV)/.setup-base  ## make .venv with the pinned dependencies

$(VENV)/.setup-base: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[track]'
	printf '%s\n' "import importlib.util; importlib.util.find_spec('zoo') and __import__('zoo')" \
	  > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/zoo_torchvision.pth"
	touch $@

$(VENV)/.setup-dev: $(VENV)/.setup-base
	$(PIP) install -q -c constraints.txt -e '.[dev,track]'
	touch $@

demo: setup  ## train, translate, score and report on drawn faces (DEMO=ci: one minute of training)
	$(BIN)/python recipes/run_demo.py $(DEMO)

test: $(VENV)/.setup-dev  ## lint, import contract and the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-all: $(VENV)/.setup-dev  ## everything, slow tests too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m ""

lint: $(VENV)/.setup-dev  ## format and check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: setup  ## the documentation site, in site/
	$(PIP) install -q -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:  ## remove what the other targets made
	rm -rf $(VENV) runs demo site dist
