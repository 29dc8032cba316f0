# Two commands are all that a fresh machine needs: `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
DEMO   ?= full

# A minute of training on the same path; says nothing about quality.
DEMO_SETTINGS_ci := train.images=500 checkpoint.every_images=250

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

demo: setup  ## train, score, translate and report on drawn faces (DEMO=ci: a minute of training)
	rm -rf runs/demo
	$(BIN)/zoo train demo --out runs/demo $(DEMO_SETTINGS_$(DEMO))
	$(BIN)/zoo eval runs/demo
	$(BIN)/zoo data demo --out runs/demo/photos --num-images 16
	$(BIN)/zoo translate runs/demo runs/demo/photos/testA runs/demo/webtoons --direction a2b
	$(BIN)/zoo translate toonfaces-ugatit runs/demo/photos/testA runs/demo/webtoons_shipped --direction a2b
	$(BIN)/zoo report runs/demo --out runs/demo/report.html
	@echo
	@echo "The report: $(CURDIR)/runs/demo/report.html"
	@echo "Sample grids while it trained: $(CURDIR)/runs/demo/samples"
	@echo "Translated by the model that comes with Zoo: $(CURDIR)/runs/demo/webtoons_shipped"

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
