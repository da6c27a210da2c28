# Each target does its own set-up. `make specialize` is the main job, `make test` the fast tests.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup specialize test slow check lint types imports docs lab lab-stop
setup: $(STAMP)

# Debian and Ubuntu ship venv as a package of its own; it is installed here where that needs no password.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "hwnas: error: $(PYTHON) is missing: install Python 3.11, or name one with 'make PYTHON=...'" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq python3.11-venv; } \
	  || { echo "hwnas: error: Python's venv module is missing: run 'sudo apt-get install python3.11-venv'" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch $@

specialize: setup
	$(BIN)/hwnas specialize --latency 2ms

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

slow: setup
	$(BIN)/python -m pytest -m slow --no-skips

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

check: lint types imports test

docs: setup
	$(BIN)/python docs/make_cli.py

# Devices to try SSH with, on this machine: lab-ssh, and lab-arm, an emulated aarch64. They need Debian's openssh-server
# and qemu-user-static.
lab: setup
	$(BIN)/python tests/ssh_lab.py start

lab-stop: setup
	$(BIN)/python tests/ssh_lab.py stop
