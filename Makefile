# Every target does its own set-up. Another environment: make test VENV=/path/to/venv
VENV ?= .venv
PYTHON_IN_VENV := $(VENV)/bin/python
STAMP := $(VENV)/.mmpanseg-installed
LINT_STAMP := $(VENV)/.mmpanseg-lint-installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz coverage lint docs docs-serve clean

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

# 12 times the cases of `make test`: more than 10,000 in all.
FACTOR ?= 12
fuzz: $(STAMP)  ## try many generated inputs, others on each run; FACTOR=100 tries still more
	MMPANSEG_FUZZ_FACTOR=$(FACTOR) $(PYTEST) -m fuzz $(ARGS)

coverage: $(STAMP)  ## run all tests, and list the lines of the package that none of them runs
	$(PYTEST) --cov --cov-report= $(ARGS)
	$(PYTHON_IN_VENV) -m coverage report

lint: $(LINT_STAMP)  ## check style and docstrings with ruff, types with mypy
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m mypy

# The theme announces the next MkDocs on every call: it is pinned in pyproject.toml.
MKDOCS := NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(PYTHON_IN_VENV) -m mkdocs

docs: $(STAMP)  ## build the documentation site into site/
	@$(PYTHON_IN_VENV) -c 'import mkdocstrings_handlers.python, material, mkdocs_gen_files' 2>/dev/null || \
		$(PYTHON_IN_VENV) -m pip install -q -e '.[docs]'
	$(MKDOCS) build --strict

docs-serve: docs  ## show the site while you write
	$(MKDOCS) serve

clean:  ## remove caches and build outputs; environments and work_dirs stay
	rm -rf build dist site *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find mmpanseg projects tests tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	rm -f $(STAMP) $(LINT_STAMP)

$(STAMP): pyproject.toml tools/install.sh
	tools/install.sh $(VENV)
	@touch $@

$(LINT_STAMP): $(STAMP)
	$(PYTHON_IN_VENV) -m pip install -q --disable-pip-version-check --editable '.[dev]'
	@touch $@
