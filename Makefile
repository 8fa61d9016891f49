# Needs a Python of at least 3.11 and its registry; everything else is installed into .venv. The tests with clients of
# other languages also need Go, Node.js, Java with Maven, and kcat, those of Celery a redis-server: without one its tests
# are left out and the summary says so, with ALL_CLIENTS=1 they fail.

PYTHON ?= python3
VENV ?= .venv
DATA ?= data
ARGS ?=
TESTS ?=

BIN := $(VENV)/bin
# Every branch of what reads and writes bytes is taken by a test.
COVERED := 'portask/storage/*,portask/message.py,portask/batch.py,handlers/*/codec.py,handlers/native/text*.py,handlers/native/words.py,handlers/native/cbor.py,handlers/wire/*,handlers/kafka/tables/*,handlers/kafka/record*.py,handlers/kafka/conversion.py,handlers/kafka/error_codes.py,portask/field_table.py,portask/properties.py,handlers/amqp/tables/*,handlers/amqp/methods.py,handlers/amqp/record.py,portask/property_headers.py'
SOURCES := setup.cfg pyproject.toml
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help run install test clients lint format bench reference changelog clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Start the server on the embedded storage in ./data (DATA=DIR, ARGS="--flag value")
	@exec $(BIN)/portask serve --data-dir "$(DATA)" $(ARGS)

install: $(VENV)/.installed ## Install Portask and what it needs into .venv

test: $(if $(TESTS),$(VENV)/.installed-test,clients) ## Run the tests and report branch coverage (TESTS=tests/path)
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --cov --cov-report=term $(if $(TESTS),,--cov-fail-under=90) $(TESTS)
ifeq ($(TESTS),)
	$(BIN)/python -m coverage report --fail-under=100 --include=$(COVERED)
endif

clients: $(VENV)/.installed-test ## Fetch and build the clients of other languages that tests/clients uses
	$(BIN)/python -m tests.clients.toolchain

lint: $(VENV)/.installed-lint ## Check format, style, types, imports and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.installed-lint ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed ## Measure what bench/ measures (ARGS="--help")
	$(BIN)/python -m bench $(ARGS)

reference: $(VENV)/.installed ## Write etc/portask.toml and the tables of docs/configuration.md
	$(BIN)/python docs/generate.py

changelog: $(VENV)/.installed-lint ## Show what docs/changes would add to CHANGELOG.md
	$(BIN)/towncrier build --draft

clean: ## Remove what make has made; ./data stays
	rm -rf $(VENV) build *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find portask handlers tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Portask needs Python 3.11 or newer; name one with make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -m compileall -q portask handlers
	@touch $@

$(VENV)/.installed-test: $(SOURCES) | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.installed-lint: $(SOURCES) | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@
