# What a person needs who has python3 and make: each target makes its own virtual environment.
# `make help` lists the targets.

# A name on PATH can be a shim that starts nothing: what counts is an interpreter that runs.
version_of = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin

# An environment stays with the interpreter that made it, until PYTHON asks for another version.
MADE_WITH := $(call version_of,$(BIN)/python)
ifdef PYTHON
  VERSION := $(call version_of,$(PYTHON))
else
  PYTHON := $(if $(call version_of,python3.13),python3.13,python3)
  VERSION := $(or $(MADE_WITH),$(call version_of,$(PYTHON)))
endif

# The files that an environment depends on; a change of either installs it again.
CONSTRAINTS := $(if $(filter 3.11,$(VERSION)),constraints-3.11.txt,constraints-3.13.txt)
SOURCES := pyproject.toml $(CONSTRAINTS)

# Compiling every file of every dependency takes longer than the rest of the install; a run compiles
# the part that it imports and keeps it, so it must be allowed to.
PIP_INSTALL := pip install -qq --no-compile
INSTALL := $(BIN)/python -m $(PIP_INSTALL) --constraint $(CONSTRAINTS)
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo smoke test test-parity lint constraints clean other-python

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PYTHON=python3.12 (3.11 or newer), VENV=.venv-3.12 (where it goes),"
	@echo "           ARGS='...' (more arguments of demo and test)"

demo: $(VENV)/.stamp ## train a small text VAE on the built-in corpus and show what it learnt
	$(BIN)/python -m vaetx_jax.main --config=configs/demo.py --workdir=runs/demo $(ARGS)

smoke: $(VENV)/.stamp ## a small study of the built-in corpus: cells, tables, pictures, a report
	$(BIN)/python -m vaetx_jax.study --config=configs/study/smoke.py --workdir=runs/smoke $(ARGS)

test: $(VENV)/.stamp-dev ## run the tests (ARGS='-k grammar' picks some)
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-parity: $(VENV)/.stamp-parity ## compare layers with PyTorch's and transformers' (installs both)
	$(BIN)/python -m pytest tests/parity $(ARGS)

lint: $(VENV)/.stamp-dev ## check style, formatting, types, and the scripts and jobs of launch/
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/shellcheck --external-sources launch/*.sh launch/slurm.sbatch .ci/run
	$(BIN)/python -m yamllint --strict --config-data '{extends: default, rules: {line-length: {max: 100}}}' launch/gke.yaml

# The exact versions that `make` and the Dockerfile install: the newest that the ranges of
# pyproject.toml allow.
constraints: $(VENV)/.made ## rewrite constraints-3.11.txt or -3.13.txt, whichever fits PYTHON
	@case "$(VERSION)" in 3.11|3.13) ;; *) \
	  echo "There are constraints for 3.11 and 3.13, not $(VERSION): make constraints PYTHON=python3.13" >&2; exit 1 ;; esac
	rm -rf build/constraints && $(BIN)/python -m venv build/constraints
	build/constraints/bin/python -m $(PIP_INSTALL) 'pip>=25.3'
	build/constraints/bin/python -m $(PIP_INSTALL) '.[dev,gcs,s3]'
	{ sed -n '/^#/p' $(CONSTRAINTS); \
	  build/constraints/bin/python -m pip freeze --all --exclude pip --exclude wheel --exclude vaetx-jax; } > build/constraints.txt
	mv build/constraints.txt $(CONSTRAINTS) && rm -rf build

clean: ## remove the environment, builds and caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp: $(SOURCES) $(VENV)/.made
	@echo "Installing what vaetx_jax needs into $(VENV) (300 MB to download, half a minute to one) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.stamp-dev: $(SOURCES) $(VENV)/.made
	@echo "Installing what developers need into $(VENV) (up to 300 MB to download, half a minute to one) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.stamp $@

# PyTorch's default build for Linux is several GB; BUILD.md tells how to take the one for CPUs.
$(VENV)/.stamp-parity: $(VENV)/.stamp-dev
	@echo "Installing PyTorch and transformers into $(VENV) ..."
	@$(INSTALL) torch==2.13.0 transformers==5.23.0
	@touch $@

$(VENV)/.made: $(if $(filter-out =$(VERSION),=$(MADE_WITH)),other-python)
	@$(PYTHON) -c '' 2>/dev/null || \
	  { echo "There is no $(PYTHON) here that runs: install Python 3.11 or newer, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vaetx_jax needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1): say make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@if [ "$(VERSION)" != "$(MADE_WITH)" ]; then \
	  if [ -e $(VENV)/pyvenv.cfg ]; then \
	    echo "$(VENV) is for Python $(or $(MADE_WITH),that is gone): making it again with $(VERSION) ..."; \
	    rm -rf $(VENV); \
	  fi; \
	  $(PYTHON) -m venv $(VENV); \
	fi
	@# The pip that comes with Python 3.11 resolves and unpacks a third slower.
	@$(BIN)/python -m $(PIP_INSTALL) 'pip>=25.3'
	@touch $@
