# tagsage: `make` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV_VERSION := 0.13.9
# The runner spark has an environment of its own: `make run RUNNER=spark`.
ifneq ($(filter spark,$(RUNNER) $(BENCH)),)
VENV := .venv-spark
LOCKS := requirements.txt requirements-dev.txt requirements-spark.txt
else
VENV := .venv
LOCKS := requirements.txt
endif
BIN := $(CURDIR)/$(VENV)/bin

# Images often say that nothing compiled is to be kept. Then each task and each test that starts a
# program would compile Airflow, MLflow and JAX anew, which takes longer than what they do.
unexport PYTHONDONTWRITEBYTECODE

# Where Airflow and MLflow (`make up`) and Neo4j (`make neo4j`) listen.
export AIRFLOW_PORT ?= 8080
export MLFLOW_PORT ?= 5000
export NEO4J_PORT ?= 7687

# Everything of Airflow's stays in this folder; its settings are these and no others.
export AIRFLOW_HOME ?= $(CURDIR)/.airflow
export AIRFLOW__CORE__DAGS_FOLDER ?= $(CURDIR)/dags
export AIRFLOW__CORE__PLUGINS_FOLDER ?= $(CURDIR)/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES ?= False
export AIRFLOW__CORE__EXECUTOR ?= LocalExecutor
export AIRFLOW__CORE__PARALLELISM ?= 4
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION ?= False
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS ?= admin:admin
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL ?= http://127.0.0.1:$(AIRFLOW_PORT)/execution/
export AIRFLOW__API__HOST ?= 127.0.0.1
export AIRFLOW__API__PORT ?= $(AIRFLOW_PORT)
export AIRFLOW__API__BASE_URL ?= http://127.0.0.1:$(AIRFLOW_PORT)
export AIRFLOW__LOGGING__LOGGING_LEVEL ?= INFO
export TAGSAGE_WORKSPACE ?= $(CURDIR)/workspace
# Where people see MLflow: `make up` serves it, unless it is already elsewhere.
ifeq ($(MLFLOW_TRACKING_URI)$(TAGSAGE_MLFLOW_TRACKING_URI),)
export TAGSAGE_MLFLOW_URL ?= http://127.0.0.1:$(MLFLOW_PORT)
endif
# `make run EMBEDDER=e5`: any setting can be given so, this one by a short name.
ifdef EMBEDDER
export TAGSAGE_EMBEDDER := $(EMBEDDER)
endif
ifdef RUNNER
export TAGSAGE_RUNNER := $(RUNNER)
endif

.PHONY: help
help:  ## list the commands
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: $(VENV)/.ready  ## build .venv from the lock

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "tagsage needs Python 3.11, $(PYTHON) is $$($(PYTHON) -V 2>&1); set PYTHON=/path/to/python3.11." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.PHONY: setup-spark
setup-spark:  ## build .venv-spark, with Spark and the test tools (downloads 456 MB); needs Java 17
	@$(MAKE) --no-print-directory setup RUNNER=spark

$(VENV)/.ready: $(VENV)/.uv $(LOCKS) pyproject.toml
	@echo "Installing $(LOCKS) into $(VENV) ..."
	@# An environment that has the tests' packages keeps them.
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet $(LOCKS) \
	  $$(test ! -e $(VENV)/.ready-test || echo requirements-dev.txt)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements-dev.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --requirement requirements-dev.txt
	@touch $@

$(AIRFLOW_HOME)/.ready: $(VENV)/.ready
	@echo "Preparing Airflow in $(AIRFLOW_HOME) ..."
	@mkdir -p $(AIRFLOW_HOME)
	@{ $(BIN)/airflow db migrate && $(BIN)/airflow pools set tagsage_cpu \
	  $$($(PYTHON) -c 'import os; print(os.cpu_count())') "Heavy tasks: as many slots as cores"; } \
	  > $(AIRFLOW_HOME)/prepare.log 2>&1 || { cat $(AIRFLOW_HOME)/prepare.log >&2; exit 1; }
	@touch $@

.PHONY: run
run: $(AIRFLOW_HOME)/.ready  ## run the nightly DAG end to end on the bundled corpus; EMBEDDER=e5 or openai for other vectors
	@$(BIN)/airflow dags test retrain
	@$(BIN)/tagsage show

.PHONY: up
up: $(AIRFLOW_HOME)/.ready  ## serve Airflow and MLflow on this machine; Ctrl-C stops both
	@$(BIN)/python scripts/up.py

.PHONY: neo4j
neo4j:  ## start a real Neo4j with GDS on this machine; Ctrl-C stops it
	@$(PYTHON) scripts/neo4j_server.py

.PHONY: env
env:  ## write .env for docker compose, with new secrets
	@$(PYTHON) compose/make_env.py

.PHONY: compose-check
compose-check: $(VENV)/.uv  ## check docker-compose.yaml without Docker
	@$(BIN)/python scripts/compose_check.py

.PHONY: lint
lint: $(VENV)/.ready-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/check_lock.py

.PHONY: test
test: $(VENV)/.ready-test  ## check style, types, imports and the lock, and run every test
	@$(MAKE) --no-print-directory -j2 lint pytest

.PHONY: pytest
pytest: $(VENV)/.ready-test
	@$(BIN)/python scripts/run_tests.py

.PHONY: test-spark
test-spark:  ## run the tests of the runner spark; they start a cluster of two executors
	@$(MAKE) --no-print-directory setup RUNNER=spark
	@.venv-spark/bin/python scripts/check_lock.py requirements-spark
	@.venv-spark/bin/python -m pytest -m spark

.PHONY: bench
bench: $(VENV)/.ready  ## measure every stage against the obvious implementation
	@$(BIN)/python -m benchmarks $(BENCH)

.PHONY: bench-gds
bench-gds: $(VENV)/.ready  ## measure Neo4j GDS against the local engine
	@$(BIN)/python -m benchmarks gds $(BENCH)

.PHONY: lock
lock: $(VENV)/.uv  ## compile requirements*.in to requirements*.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url requirements.in --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url requirements-dev.in --output-file requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url requirements-spark.in --output-file requirements-spark.txt

.PHONY: clean
clean:  ## remove everything that was made, the workspace excepted
	rm -rf .venv .venv-spark .airflow .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
