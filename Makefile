# `make demo` and `make test` are all the set-up there is: each makes .venv from the pinned versions.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE ?= 1
export MPLBACKEND ?= Agg

.PHONY: demo test lint validate bench scaling bench-gpu docs mutate clean help

help:
	@echo "make demo      simulate a lensed sky, reconstruct phi, draw the pictures (results in runs/demo)"
	@echo "make test      linter, type checker, import contract and the fast tests"
	@echo "make validate  the long statistical suite; resumable; writes docs/validation.md, biases.md, split.md, fit.md, anomaly.md, real-sky.md"
	@echo "make bench     timings as ratios to peers; writes docs/benchmarks.md and benchmarks-biases.md"
	@echo "make scaling   time and memory of each stage by nside, and of a thousand skies; writes docs/scaling.md"
	@echo "make docs      the documentation as a site in build/docs, every link checked"
	@echo "make mutate    break the numerics on purpose, and see whether a test fails; writes docs/mutations.md"
	@echo "make bench-gpu timings of the remap on a CUDA device, stage by stage; see docs/gpu.md"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lensrec needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.base

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@ $(VENV)/.base

demo: $(VENV)/.base
	$(BIN)/lensrec run pipelines/quickstart.yaml --out runs/demo

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One process a core, each with one thread: most tests are too small for more. Notebooks are run like any test.
test: lint
	LENSREC_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --nbmake tests maps

validate: $(VENV)/.test
	$(BIN)/python -m tests.validate

bench: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.biases

scaling: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks.scaling

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

mutate: $(VENV)/.test
	$(BIN)/python -m tests.mutate

bench-gpu: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks.gpu

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
