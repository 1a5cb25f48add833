# SPDX-License-Identifier: Apache-2.0
# `make` lists the targets. Variables: PYTHON (interpreter), VENV (folder), DB=postgres (tests),
# ARGS (more words for pytest or the benchmarks), INSTALL=no (never install system packages).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
DATA := $(or $(SLIPWAY_DATA_DIR),var)
ARGS ?=
LOCKS := requirements.txt requirements-build.txt
DEV_LOCKS := $(LOCKS) requirements-dev.txt
# Three processes run the tests, a file in one of them, in the order of tests/support/order.py;
# ARGS="-n 0" runs them one after the other.
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder
QUICK := tests/test_layout.py tests/test_rules.py tests/test_templates.py tests/unit/services \
	tests/unit/streams tests/unit/web tests/unit/test_config.py tests/unit/test_security_docs.py
CHECKED := webapp tests bench deploy migrations wsgi.py
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
      --no-annotate --custom-compile-command 'make lock'
export DB PYTHON INSTALL

##@ Use

.PHONY: setup
setup: $(VENV)/.ready packages-run $(DATA)/.migrated ## set up .venv, gpg and the database

.PHONY: run
run: setup ## start web (5240), rack (5248) and worker; stop with Ctrl-C
	@exec $(BIN)/slipway run

.PHONY: demo
demo: $(VENV)/.ready packages-run ## import from a small signed mirror on this machine, without the internet
	@exec $(BIN)/python deploy/demo.py $(ARGS)

##@ Check

.PHONY: quick
quick: $(VENV)/.ready-dev lint ## run lint, layout and unit tests; do so before each commit
	@exec $(BIN)/python -m pytest --quiet $(SIDE_BY_SIDE) -m "not slow and not browser" $(QUICK) $(ARGS)

.PHONY: test
test: $(VENV)/.ready-dev packages-test lint ## set up, lint and run all tests; DB=postgres: on PostgreSQL
	@exec $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

.PHONY: torture
torture: $(VENV)/.ready-dev packages-test ## test kills, rot, crowds, hostile and slow clients, clock steps, full disks, memory; print figures
	@TORTURE=1 exec $(BIN)/python -m pytest --quiet tests/torture tests/unit/services/images/test_any_sequence.py \
		tests/e2e/uploads/test_interrupted.py $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.ready-dev ## feed damaged input to what reads files of others, within limits
	@exec $(BIN)/python -m pytest --quiet tests/fuzz $(ARGS)

.PHONY: lint
lint: $(VENV)/.ready-dev ## run ruff and mypy
	@$(BIN)/ruff check $(wildcard $(CHECKED))
	@$(BIN)/ruff format --check --quiet $(wildcard $(CHECKED)) || \
		{ echo "Next: make format"; exit 1; }
	@$(BIN)/mypy

.PHONY: format
format: $(VENV)/.ready-dev ## format the code with ruff
	@$(BIN)/ruff format $(wildcard $(CHECKED))
	@$(BIN)/ruff check --fix $(wildcard $(CHECKED))

.PHONY: bench
bench: $(VENV)/.ready-dev packages-bench ## measure beside curl, nginx and an earlier commit
	@set -e; mkdir -p build; for script in bench/*_bench.py; do \
		$(BIN)/python -m bench.$$(basename $$script .py) $(ARGS); done

.PHONY: screenshots
screenshots: $(VENV)/.ready-dev packages-test ## take docs/screenshots again
	@exec $(BIN)/python -m tests.support.screenshots $(ARGS)

##@ Keep

.PHONY: lock
lock: $(VENV)/.ready-dev ## pin all packages again, with hashes
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	@$(UV) requirements.in -o requirements.txt
	@$(UV) requirements-build.in -o requirements-build.txt
	@$(UV) requirements-dev.in -o requirements-dev.txt

.PHONY: sbom
sbom: $(VENV)/.ready-dev ## write build/sbom.cdx.json: what is installed to run Slipway (CycloneDX)
	@$(BIN)/python deploy/sbom.py build/sbom.cdx.json
	@echo build/sbom.cdx.json

.PHONY: clean
clean: ## remove generated files; never $(DATA)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find webapp tests bench migrations -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {sub(/\$$\(DATA\)/, "$(DATA)", $$2); printf "  make %-12s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

# -- prerequisites of the targets

# A stamp records what was installed; a change of the pins or of the project installs again.
$(VENV)/.ready: $(LOCKS) pyproject.toml deploy/make-venv.sh
	@deploy/make-venv.sh $(VENV) $(LOCKS)
	@touch $@

$(VENV)/.ready-dev: $(DEV_LOCKS) pyproject.toml deploy/make-venv.sh
	@deploy/make-venv.sh $(VENV) $(DEV_LOCKS)
	@touch $@ $(VENV)/.ready

.PHONY: packages-run packages-test packages-bench
packages-run packages-test packages-bench: packages-%:
	@deploy/install-packages.sh $*

# A database that isn't the default file is checked each time, and so is a missing one.
ifneq ($(SLIPWAY_DATABASE_URL)$(if $(wildcard $(DATA)/slipway.db),,gone),)
.PHONY: $(DATA)/.migrated
endif
$(DATA)/.migrated: $(VENV)/.ready $(wildcard migrations/versions/*.py)
	@$(BIN)/slipway db upgrade
	@touch $@
