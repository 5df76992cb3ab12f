# fcweb: every task a person or CI runs. Only python3.11 with venv is needed to start.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

TEMPLATES := $(shell find templates -name '*.html')

.DEFAULT_GOAL := help
.PHONY: help run test crash fuzz bench check fmt rules messages screenshots lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: messages  ## install, set up, start web and transport
	$(PY) manage.py collectstatic --noinput -v 0
	$(PY) manage.py setup
	$(PY) manage.py serve

test: $(VENV)/.dev messages  ## every check and every test, on SQLite and on a private PostgreSQL
	sh tests/servers/install.sh
	$(MAKE) check
	$(PY) -m pytest -n 2 --dist loadfile tests
	sh tests/servers/on_postgresql.sh $(PY) -m pytest -n 2 --dist loadfile tests/unit tests/integration

crash: $(VENV)/.dev  ## kill the transport at every single step of a run; `test` tries every fifth
	FCWEB_CRASH_EVERY=1 $(PY) -m pytest -n 2 tests/crash

fuzz: $(VENV)/.dev messages  ## the property tests on new examples, thousands each; `test` repeats the same ones
	$(PY) -m pytest -n 2 --hypothesis-profile fuzz $(shell grep -rlE '^@given' tests)

bench: $(VENV)/.dev messages  ## Pickup to Drop beside Postfix, search beside grep, pages and sockets with 100,000 waiting
	sh tests/servers/install.sh postfix
	$(PY) tests/bench/bench_transport.py
	$(PY) tests/bench/bench_search.py
	$(PY) -m pytest -q -s tests/bench/bench_queues.py
	$(PY) tests/bench/bench_stream.py
	$(PY) tests/bench/bench_push.py

check: $(VENV)/.dev  ## style, types, templates, migrations, translations, rules map
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy fcweb connectors tracking
	$(VENV)/bin/djade --check --target-version 5.2 $(TEMPLATES)
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check
	$(PY) -m pytest -q tests/unit/test_translations.py tests/unit/test_repository.py tests/unit/test_rules_map.py
	$(PY) -m tests.rules --check

fmt: $(VENV)/.dev  ## format code and templates
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	-$(VENV)/bin/djade --target-version 5.2 $(TEMPLATES)

rules: $(VENV)/bin/python  ## write docs/rules.md from docs/rules.toml, docstrings and test marks
	$(PY) -m tests.rules

messages: $(VENV)/.runtime  ## compile the translations
	$(PY) -m babel.messages.frontend -q compile -f -d locale -D django

screenshots: $(VENV)/.dev messages  ## picture every page of a busy installation into screenshots/
	$(PY) -m tests.screenshots

lock: $(VENV)/.dev  ## resolve requirements*.in into the locked files
	$(PY) -m pip install -q uv
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-strip-extras requirements.in -o requirements.txt
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-strip-extras requirements-dev.in -o requirements-dev.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || (echo "python3-venv is missing: apt-get install python3-venv" && false)

$(VENV)/.runtime: requirements.txt $(VENV)/bin/python
	$(PY) -m pip install -q --require-hashes -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(PY) -m pip install -q --require-hashes -r requirements-dev.txt
	touch $@

clean:  ## remove the virtual environment and the data directory var
	rm -rf $(VENV) var
