# make demo    one real recorded call on this machine
# make test    everything: checks, and the tests on the compiled and on the uncompiled build
# make serve   run the server with its defaults (data in ./tapeline-data)
# make check   types, style and import rules only
# make bench   measure, and write the table in docs/performance.md
# make crowd   a hundred bridged calls for a minute, each recording held against what was said

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
# Most of them wait for processes and clocks, so more of them run than there are processors
WORKERS ?= 5
# Tests with real peers hold recordings against what was said in real time: they run beside few others, and none that only computes.
# Those with a crowd of calls run alone. So does, in the end, what failed twice beside others: a machine that is too busy to speak in time
# proves nothing about what was recorded, and what fails by itself has failed.
PEER_WORKERS ?= 5

# Tests of the sources themselves, which `make check` runs
CHECKS := tests/unit/test_architecture.py tests/unit/test_style.py

# The tests start this code a few hundred times: Python keeps what it compiled, whatever it is told elsewhere
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve test check test-compiled test-fuzz test-uncompiled peers bench crowd build clean
.DEFAULT_GOAL := demo

demo: build
	$(BIN)/tapeline demo

serve: build
	$(BIN)/tapeline serve

test: build peers check test-compiled test-fuzz test-uncompiled

check: build
	$(BIN)/ruff check src tests bench setup.py
	$(BIN)/mypy & typed=$$!; $(BIN)/pytest -q $(CHECKS); tested=$$?; wait $$typed && exit $$tested

# The first line compiles the tests: the processes that then read them side by side would each do so. What is wrong with them, the next tells
test-compiled: build
	@$(BIN)/pytest --collect-only -qq --ignore tests/fuzz >/dev/null || true
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal --ignore tests/fuzz $(addprefix --ignore ,$(CHECKS)) -m "not peer and not crowd"
	$(BIN)/pytest -q -n $(PEER_WORKERS) --dist loadfile tests/system -m "peer and not crowd" || { \
		echo "tapeline: what failed is run once more, by itself"; $(BIN)/pytest -q --last-failed tests/system -m "peer and not crowd"; }
	$(BIN)/pytest -q tests/system -m crowd

# Ten seconds for each parser, less for what is built of them.
test-fuzz: build
	TAPELINE_FUZZ_SECONDS=10 $(BIN)/pytest -q -n 2 tests/fuzz

# The same tests on the same sources, interpreted: all that the build can make a difference to.
UNCOMPILED := tests/unit/rtp tests/sim tests/fuzz/test_fuzz_rtp.py $(addprefix tests/system/test_,recorded_calls.py live_control.py \
	crash.py drain.py world_fails.py thousand_calls.py rtp_engine.py cli_phone.py two_telephones.py)
test-uncompiled: build
	TAPELINE_COMPILED=0 $(BIN)/pytest -q -n 3 --dist worksteal $(UNCOMPILED) -m "not crowd"
	TAPELINE_COMPILED=0 $(BIN)/pytest -q $(addprefix tests/system/test_,recorded_calls.py rtp_engine.py crash.py) -m crowd

peers:
	@scripts/peers

bench: build
	$(BIN)/python bench/run.py

# `make test` has the same for fifteen seconds
crowd: build peers
	TAPELINE_CROWD_SECONDS=60 $(BIN)/pytest -q tests/system/test_bridged_crowd.py

build: $(STAMPS)/build

$(STAMPS)/venv: pyproject.toml
	@echo "tapeline: making $(VENV) with $$($(PYTHON) --version) and installing what it needs (a minute or two) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tapeline needs Python 3.11 or later; name one with make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "tapeline: on Debian and Ubuntu venv is a package of its own: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools wheel "cython>=3.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[speech,opus,postgres,dev]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: $(STAMPS)/venv setup.py $(wildcard src/tapeline/rtp/engine/*.py src/tapeline/rtp/engine/*.pxd src/tapeline/rtp/engine/*.pyx src/tapeline/rtp/codecs/*.py src/tapeline/rtp/codecs/*.pxd)
	@echo "tapeline: building the compiled engine ..."
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

clean:
	rm -rf $(VENV) $(STAMPS) build src/*.egg-info
	find src -name '*.so' -delete -o -name '*.c' -path '*/rtp/*' -delete
