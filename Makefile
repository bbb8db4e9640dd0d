# SPDX-License-Identifier: Apache-2.0
# `make help` lists what there is.

.DEFAULT_GOAL := help
.PHONY: help setup compile run test check format bench chaos docs clean
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
BIN := .venv/bin
# The tools run as modules: a script's first line can't hold a path with spaces.
PY := $(BIN)/python
STAMP := .venv/.installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make the virtual environment in .venv/

$(STAMP): setup.cfg pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: PYTHON=/path/to/python3.11 make setup" >&2; exit 1; }
	@test -x $(PY) || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing what setup.cfg names"
	@$(PY) -m pip install -qq --disable-pip-version-check -e '.[site,test]'
	@$(PY) tools/compile.py || echo "not compiled: the sources run, which take twice the time in Python"
	@touch $@

compile: $(STAMP) ## Compile anew what every request passes through, after an edit
	@$(PY) tools/compile.py || { cat build/compile.log; exit 1; }

run: $(STAMP) ## Start the whole site: edge 8000, admin 8010, legacy 8100, materia 8101
	@$(PY) tools/local_site.py

test: $(STAMP) ## Install the servers that tests need, run every test
	@$(PY) tests/servers/install.py
	@$(MAKE) -s --no-print-directory compile
	@$(PY) tools/run_tests.py

check: $(STAMP) ## Check format, lint and types
	@status=0; \
	$(PY) -m ruff format --check --output-format=concise . || { status=1; echo "make format mends that"; }; \
	$(PY) -m ruff check --no-cache --output-format=concise . || status=1; \
	$(PY) -m mypy || status=1; \
	exit $$status

format: $(STAMP) ## Format the code and mend what the linter can
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

bench: $(STAMP) ## Measure beside nginx, Varnish, HAProxy (20 min); writes bench/RESULTS.md
	@$(PY) tests/servers/install.py --bench
	@$(PY) -m pip install -qq --disable-pip-version-check -e '.[bench]'
	@$(MAKE) -s --no-print-directory compile
	@$(PY) bench/run.py

chaos: $(STAMP) ## Break everything under load, one after the other; writes bench/CHAOS.md
	@$(PY) tests/servers/install.py
	@$(MAKE) -s --no-print-directory compile
	@$(PY) tests/chaos/run.py

docs: $(STAMP) ## Write the reference pages anew from the schema
	@$(PY) -m strangler.config.reference docs/reference
	@$(PY) -m strangler.observe.reference docs/metrics.md

clean: ## Remove what can be made again: .venv, var, caches
	@rm -rf .venv var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find strangler -name '*.so' -delete; rm -f strangler/compiled.sha256
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
