# Every target does its own set-up. Another environment: make test VENV=/path/to/venv
VENV ?= .venv
PYTHON_IN_VENV := $(VENV)/bin/python
STAMP := $(VENV)/.mmpanseg-installed
LINT_STAMP := $(VENV)/.mmpanseg-lint-installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*##/make \1\t/p' $(MAKEFILE_LIST)

demo: $(STAMP)  ## train, score and draw a panoptic model on synthetic scenes
	$(PYTHON_IN_VENV) tools/demo.py $(ARGS)

# A process for each core (models are tiny: a second thread only waits), four at most for memory.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON_IN_VENV) -m pytest -q -n auto --maxprocesses 4 --dist worksteal

test: $(STAMP)  ## run the tests, without those that take long; ARGS are given to pytest
	$(PYTEST) -m 'not slow' $(ARGS)

test-slow: $(STAMP)  ## run the tests that take long
	$(PYTEST) -m slow $(ARGS)

lint: $(LINT_STAMP)  ## check style and docstrings with ruff, types with mypy
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m mypy

clean:  ## remove caches and build outputs; environments and work_dirs stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find mmpanseg projects tests tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	rm -f $(STAMP) $(LINT_STAMP)

$(STAMP): pyproject.toml tools/install.sh
	tools/install.sh $(VENV)
	@touch $@

$(LINT_STAMP): $(STAMP)
	$(PYTHON_IN_VENV) -m pip install -q --disable-pip-version-check --editable '.[dev]'
	@touch $@
