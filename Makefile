# Two commands: `make run` to see it work, `make test` to prove it. Both start from a bare clone.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ROOT   ?= indexes
JOBS   ?= 2

# what holds the page to its rules; only the tests use it
AXE    := 4.14.1

.PHONY: install run test test-browser test-slow test-mteb test-gpu lint bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# torch first and by its exact version, so that a CPU build is taken where one is offered
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cpu]'
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cpu,test]'
	@touch $@

run: install
	@$(BIN)/instructsearch index --root $(ROOT) -c stdlib --glob '*.py' \
		$$($(BIN)/python -c 'import os, email, http, json, logging, asyncio; print(*(os.path.dirname(m.__file__) for m in (email, http, json, logging, asyncio)))')
	@echo; echo '$$ instructsearch search "rotate the log file when it gets too big" -c stdlib -k 3'
	@$(BIN)/instructsearch search --root $(ROOT) "rotate the log file when it gets too big" -c stdlib -k 3
	@echo '$$ instructsearch search "wait for several coroutines at once" -c stdlib -k 3'
	@$(BIN)/instructsearch search --root $(ROOT) "wait for several coroutines at once" -c stdlib -k 3

test: $(VENV)/tested lint
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-browser: $(VENV)/tested $(VENV)/axe.min.js
	@$(BIN)/python -c 'import sys; sys.path.insert(0, "tests"); import chromium; sys.exit(chromium.installed() is None)' \
		|| $(call debian,chromium)
	$(BIN)/python -m pytest -q -m browser

$(VENV)/axe.min.js: $(VENV)/installed
	@command -v npm >/dev/null || $(call debian,npm)
	cd $(VENV) && npm pack --silent axe-core@$(AXE) >/dev/null && tar -xzOf axe-core-$(AXE).tgz package/axe.min.js >axe.min.js
	@rm -f $(VENV)/axe-core-$(AXE).tgz

# a Debian package, where this user may install one
debian = { test "$$(id -u)" = 0 && apt-get update -q && apt-get install -qy --no-install-recommends $(1); } \
	|| { echo '$(1) is missing: apt-get install $(1)' >&2; exit 1; }

test-slow: $(VENV)/tested
	$(BIN)/python -m pytest -q -m slow

test-mteb: $(VENV)/tested
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cpu,test,mteb]'
	$(BIN)/python -m pytest -q -m mteb

test-gpu: $(VENV)/tested
	$(BIN)/python -m pytest -q -m gpu

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
