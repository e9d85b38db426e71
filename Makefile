# Everything a developer or CI calls. `make demo` and `make test` need Python 3.11+, git and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
# Start-up is measured with compiled bytecode; some machines switch it off.
unexport PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install install-train demo test test-slow test-live test-fast check format format-check lint types \
	imports docs docs-check goldens wheel bench bench-peers clean demo-art demo-checkpoint

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.core  ## Core and development tools, without torch

install-train: $(VENV)/.train  ## Core, tools and the extras that tests need (torch, diffusers, peft, light clients)

$(VENV)/.core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable . --group test --group lint
	touch $@

# torch first and alone: what depends on it must not choose another build.
$(VENV)/.train: $(VENV)/.core
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[train,captions,queue,hosted,replicate,fal]'
	touch $@

demo: install-train  ## Import, approve, build, train, evaluate, review and promote, for real
	$(BIN)/lora demo demo-workspace --replace

test: install-train  ## Tests, but for the slow ones
	$(BIN)/pytest --numprocesses 2 -m 'not slow and not live' $(ARGS)

test-slow: install-train  ## The slow ones: the demo, faults at every write, the largest models
	$(BIN)/pytest --numprocesses 2 -m slow $(ARGS)

test-live: install-train  ## Services that LORA_LIVE names; costs money (CONTRIBUTING.md)
	$(BIN)/pytest -m live -rs $(ARGS)

test-fast: install  ## Tests that need no torch and no patience
	$(BIN)/pytest --numprocesses 2 -m 'not train and not slow and not live' $(ARGS)

check: format-check lint types imports docs-check test test-slow  ## Everything that CI checks

format: install  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: install
	$(BIN)/ruff format --check .

lint: install  ## Lint
	$(BIN)/ruff check .

types: install  ## Check types
	$(BIN)/mypy

imports: install  ## Check that imports point downwards
	$(BIN)/lint-imports

docs: install  ## Write the command reference from the program
	$(BIN)/python scripts/write_reference.py

docs-check: install  ## Check that the command reference agrees with the program
	$(BIN)/python scripts/write_reference.py --check

goldens: install  ## Write the golden plans of every trainer and architecture anew
	$(BIN)/pytest tests/contract/test_golden_plans.py --update-goldens --quiet

wheel: install  ## Build the wheel and run it in an empty environment
	$(BIN)/python scripts/check_wheel.py

bench: install bench-peers  ## Measure start-up, and datasets beside other tools (half an hour, 12 GB)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/datasets.py build/bench --peers .venv-peers --growth 1000 10000 100000

bench-peers: .venv-peers/.ready

.venv-peers/.ready:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check --quiet dvc datasets pillow
	touch $@

demo-art: install  ## Draw the demo's art again
	$(BIN)/python scripts/draw_demo_art.py

demo-checkpoint: install-train  ## Train the demo's base model again (about an hour)
	$(BIN)/python scripts/train_demo_checkpoint.py

clean:  ## Remove what was built here
	rm -rf $(VENV) .venv-peers demo-workspace dist build .mypy_cache .ruff_cache .pytest_cache
