# Needs only Python (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help demo test lint bench arm install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    carve a small network, open runs/digits-*/report.html   (~3 minutes after the install)"
	@echo "make test    the tests"
	@echo "make lint    ruff and mypy"
	@echo "make bench   every figure; make bench-AREA for one area (walk, quantize, prune, advise, search, shard, federate)"
	@echo "make arm     the agent on an emulated 64-bit ARM (Debian; fetches 100 MB)"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fit,cluster,gateway,federate,postgres,examples,dev]"
	@touch $@

demo: $(STAMP)
	$(BIN)/netsuke fit examples/digits.py --size 40KB --drop 3pt

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: bench-walk bench-quantize bench-prune bench-advise bench-search bench-shard bench-federate

arm: $(STAMP)
	$(BIN)/python -m bench arm

bench-%: $(STAMP)
	$(BIN)/python -m bench $*

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache
