# `make` shows the targets. Everything is installed into the checkout: .venv (Python), .cache (Kafka's jars).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Processes start by the hundred: what they import must not be compiled each time.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
SETUP := .venv/.setup
CONSOLE := streams/api/static/index.html
NODE_IS_NEW := const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)
CONSOLE_SOURCES := $(shell find streams/console -path '*/node_modules' -prune -o -type f -print)

.PHONY: help setup console client lint test demo up bench faults lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(SETUP) $(CONSOLE) ## Install what the other targets need (they do it themselves)

# Done again only when the lock or the project's metadata changed.
$(SETUP): requirements.lock pyproject.toml
	@for python in python3.11 python3.12 python3.13 python3; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; \
	done; \
	[ -n "$$python" ] || { echo "stormweir: Python 3.11 or newer is needed (python3.11 on the PATH)" >&2; exit 1; }; \
	echo "==> .venv with $$("$$python" --version)"; \
	[ -x $(BIN)/python ] || "$$python" -m venv .venv
	@echo "==> installing the $$(grep -c == requirements.lock) packages of requirements.lock"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --requirement requirements.lock \
	  | awk '/^Collecting/ && ++n % 10 == 0 { print "    " n " found"; fflush() } /^Installing/ { print "    unpacking"; fflush() }'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m streams.embedded.kafka_jars
	@$(BIN)/python -m streams.embedded.kafka_archive
	@touch $@

console: $(CONSOLE) ## Build the web console, if Node is there

# Done again only when its sources or its lock changed. Without Node everything but the console works.
$(CONSOLE): $(CONSOLE_SOURCES)
	@if ! command -v npm >/dev/null || ! node -e '$(NODE_IS_NEW)' 2>/dev/null; then \
	  echo "==> no Node 20.19 or newer with npm: going on without the web console" >&2; \
	else \
	  echo "==> building the web console"; cd streams/console; \
	  npm ci --no-audit --no-fund --loglevel=error >/dev/null && npm run --silent build -- --logLevel warn; \
	fi

client: $(SETUP) ## Build the Python client of the API: a wheel in dist
	@$(BIN)/python -m streams.client dist/client
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir dist dist/client
	@ls dist/stormweir_client-*.whl

lint: $(SETUP) ## Check style, formatting, types and import directions
	@echo "==> ruff check"; $(BIN)/ruff check .
	@echo "==> ruff format"; $(BIN)/ruff format --check .
	@echo "==> mypy"; $(BIN)/mypy
	@echo "==> import directions"; $(BIN)/lint-imports

test: lint $(CONSOLE) ## lint, then every test (real Kafka, real ClickHouse engine)
	@echo "==> pytest, three folders at a time"; $(BIN)/python -m pytest -n 3 --dist loadscope

demo: $(SETUP) $(CONSOLE) ## Start everything, play an alert storm, prove that nothing was lost
	@$(BIN)/stormweir demo

up: $(SETUP) $(CONSOLE) ## Start everything and keep it running; Ctrl-C stops it
	@$(BIN)/stormweir up

bench: $(SETUP) ## Measure; results go to benchmarks/results and benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

faults: $(SETUP) ## Kill processes at random under load and prove that nothing was lost
	@$(BIN)/python -m benchmarks.faults

lock: $(SETUP) ## Resolve requirements.lock again from pyproject.toml
	@[ -x .cache/pip-tools/bin/pip-compile ] || { $(BIN)/python -m venv .cache/pip-tools && \
	  .cache/pip-tools/bin/pip install --quiet pip-tools; }
	@.cache/pip-tools/bin/pip-compile --quiet --upgrade --all-extras --all-build-deps --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --annotation-style=line \
	  --output-file=requirements.lock pyproject.toml

clean: ## Remove what was installed and measured: .venv, .cache, caches (not var/, where data lies)
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
