# fcweb: every task a person or CI runs. Only python3.11 with venv is needed to start.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: run test bench check fmt migrations lock clean

run: $(VENV)/.runtime
	$(PY) -m babel.messages.frontend -q compile -f -d locale -D django
	$(PY) manage.py collectstatic --noinput -v 0
	$(PY) manage.py setup
	$(PY) manage.py serve

test: $(VENV)/.dev
	sh tests/servers/install.sh
	$(MAKE) check
	$(PY) -m babel.messages.frontend -q compile -f -d locale -D django
	$(PY) -m pytest tests
	sh tests/servers/on_postgresql.sh $(PY) -m pytest tests/integration

bench: $(VENV)/.dev
	sh tests/servers/install.sh postfix
	$(PY) tests/bench/bench_transport.py

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy fcweb connectors tracking
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check

fmt: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: $(VENV)/.dev
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

clean:
	rm -rf $(VENV) var
