# Everything runs in a virtual environment of its own: python3 and make are all that a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test test-clients check bench soak install clean

help:
	@echo "make demo    three agents meet, talk, crash and lose nothing (about ten seconds)"
	@echo "make test    all tests but those with the real agents"
	@echo "make test-clients  the real Claude Code, Codex, Gemini CLI and OpenCode, offline; installs what is missing"
	@echo "make check   ruff, mypy, layers, light imports, house figures, coverage of the core"
	@echo "make bench   what is promised about speed and memory, measured; writes build/bench.json"
	@echo "make soak    what is promised of a rough world, tried for an hour; MINUTES=10 KILLS=1000 SEEDS=2000; build/soak.json"
	@echo "make clean   remove what make made"

install: $(STAMP)

# Compiled at once: a session starts in half the time when nothing is left to compile.
$(STAMP): pyproject.toml src/coterie/__init__.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m compileall -q src
	@touch $(STAMP)

demo: install
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python tools/demo.py

test: install
	@$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest --ignore=tests/clients

# What cannot be installed is named, and then each test that needs it; COTERIE_REQUIRE_CLIENTS=1 makes that a failure.
test-clients: install
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python tests/clients/programs.py || echo "make test-clients: not all agents are there"
	$(BIN)/python -m pytest -rs tests/clients

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/house
	$(BIN)/python tools/core_coverage.py

bench: install
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python tools/bench.py

MINUTES ?= 10
KILLS ?= 1000
SEEDS ?= 2000

# Before a release: KILLS=10000. A part alone: PARTS="flood throng weeks history kills tests simulator".
soak: install
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python tools/soak.py $(PARTS) --minutes $(MINUTES) --kills $(KILLS) --seeds $(SEEDS)

clean:
	rm -rf $(VENV) build dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
