# One command each for what a user or a contributor does; every one sets up what it needs in .venv.
#   make PYTHON=/path/to/python3   uses that Python for the environment

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.PHONY: help lenet data test test-cuda check bench bench-cuda draw golden clean

# Relative paths throughout: a checkout may lie in a folder with spaces in its name.
python := .venv/bin/python
settings := setup.cfg pyproject.toml constraints.txt
workers := 2

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

lenet: data ## train the tutorial's LeNet on MNIST for 10 epochs, pictures in runs/
	@$(python) -m lenet train --epochs 10

data: .venv/installed-lenet ## fetch MNIST (a small sample serves where nothing can be reached)
	@$(python) -m lenet data fetch --thorough || \
		echo "MNIST could not be fetched: going on with the sample of 2,594 digits."

test: .venv/installed-test ## run the tests
	@$(python) -m pytest -n $(workers)

test-cuda: .venv/installed-cuda ## run the tests of the CUDA target; they need no GPU
	@$(python) -m pytest -n $(workers) tests/test_cuda_*.py

check: .venv/installed-dev ## lint, formatting, types
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

bench: .venv-bench/installed-lenet ## measure beside PyTorch, JAX, PyTensor: docs/benchmarks.md
	@.venv-bench/bin/python -m benchmarks.install
	@.venv-bench/bin/python -m benchmarks --json benchmarks/results.json --docs docs

bench-cuda: .venv-bench/installed-lenet ## measure on a GPU beside PyTorch and JAX: docs/benchmarks.md
	@.venv-bench/bin/python -m benchmarks.cuda --docs docs

draw: .venv/installed-lenet ## draw the tutorial's model and its compiled graph into pictures/
	@$(python) -m lenet draw --out pictures

golden: .venv/installed-test ## write tests/golden anew; read the difference before committing it
	@$(python) -m pytest -m golden --update-golden

clean: ## delete the environments, caches and build products (not runs/, not the data)
	rm -rf .venv .venv-bench build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environments -----------------------------------------------------------------------

.venv/installed-lenet .venv-bench/installed-lenet: extras := render,lenet
.venv/installed-test: extras := render,lenet,test
.venv/installed-dev: extras := render,lenet,dev
.venv/installed-cuda: extras := render,lenet,test,cuda

define install
@echo "Installing symgraph[$(extras)] into $(@D) ..."
@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable '.[$(extras)]'
@touch $@
endef

.venv/installed-%: .venv/made $(settings)
	$(install)

.venv-bench/installed-lenet: .venv-bench/made $(settings)
	$(install)

.venv/made .venv-bench/made:
	@if $(@D)/bin/python -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	set -- "$(PYTHON)"; \
	[ -n "$$1" ] || set -- python3 python python3.13 python3.12 python3.11 python3.10 python3.14; \
	for base do \
		"$$base" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' \
			>/dev/null 2>&1 || continue; \
		echo "Making $(@D) with $$("$$base" --version) ..."; \
		"$$base" -m venv $(@D) && touch $@ && exit 0; \
	done; \
	echo "No Python 3.10 or newer with its venv module among: $$*" >&2; \
	echo "Install one (Debian: apt-get install python3-venv; macOS: brew install python)," >&2; \
	echo "or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
