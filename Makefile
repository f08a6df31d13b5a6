# make demo    a real QLoRA training with trouble in it, watched by the real daemon, live on its page, in about a minute
# make test    everything that CI checks: format, lint, types, docs, tests
# make check   the same without the tests
# make docs    write config.example.toml anew
# make page    build the dashboard's page anew (it is built with the package too)
# make bench   the benchmarks, into benchmarks/RESULTS.md
# make bench-detection   the detectors and their peers on the same curves, into benchmarks/detection/RESULTS.md
# make clean   remove everything that these made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs page bench bench-detection clean
.DEFAULT_GOAL := test

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("smartmon needs Python 3.11 or later; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)

# Where there is no NVIDIA GPU, PyTorch's CPU build (0.2 GB) spares gigabytes of CUDA: the build marked so where pip can
# reach one, else this version as pip has it. TORCH=... chooses another; an installed one is left alone.
TORCH ?= $(shell nvidia-smi >/dev/null 2>&1 && echo torch || echo torch==2.13.0)

$(VENV)/.stamp-torch: | $(BIN)/python
	@$(BIN)/python -c 'import torch' 2>/dev/null \
		|| { case '$(TORCH)' in *==*) $(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)+cpu' 2>/dev/null;; *) false;; esac; } \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	@touch $@

# The stamps make a second call quick: pip only runs when the dependencies may have changed.
$(VENV)/.stamp-base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.stamp-train: pyproject.toml $(VENV)/.stamp-torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dashboard,plots]'
	@touch $@ $(VENV)/.stamp-base

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-train
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dashboard,plots,dev]'
	@touch $@ $(VENV)/.stamp-base

demo: $(VENV)/.stamp-train
	@$(BIN)/smartmon demo

# One thread of arithmetic for each of the processes: more of them only wait for each other where cores are few.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_docs.py

docs: $(VENV)/.stamp-base
	$(BIN)/smartmon config init --force config.example.toml

page:
	cd smartmon/web/ui && npm ci --no-audit --no-fund && npm run check && npm run build

bench: $(VENV)/.stamp-dev
	$(BIN)/python benchmarks/run.py

bench-detection: $(VENV)/.stamp-dev
	$(BIN)/python benchmarks/detection/run.py --write --sigmas 3.5 --sigmas 8

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
