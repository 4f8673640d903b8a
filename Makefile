# Two commands: `make chat` and `make test`. Everything lives in .venv; nothing outside this folder is installed.
#
#   PYTHON=python3.12 make chat   another Python (3.11 to 3.13)
#   HOME_DIR=/somewhere make chat another home for the store and the models

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_OPTION := $(if $(HOME_DIR),--home "$(HOME_DIR)")
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: chat test test-models lint wheel clean

chat: $(VENV)/installed
	@$(BIN)/localmem $(HOME_OPTION) models pull --missing
	@$(BIN)/localmem $(HOME_OPTION) chat

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not large" -n auto --dist worksteal

test-models: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m large

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/installed-dev
	@rm -f dist/*.whl
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist

# The versions in constraints.txt are those the tests ran with. PyTorch goes first, in one version that has a
# build for CPUs, because whatever else asks for it would take the newest.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "localmem needs Python 3.11, 3.12 or 3.13: PYTHON=python3.12 make chat"; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	  || { echo "llama.cpp is built here and needs a C++ compiler: apt install g++, or xcode-select --install"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "this Python cannot make virtual environments: apt install python3-venv"; exit 1; }
	@echo "installing (llama.cpp is compiled once; this takes a few minutes)"
	$(PIP) install --quiet --upgrade "pip>=25.1,<27"
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@
