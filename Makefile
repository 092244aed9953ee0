# `make study` and `make test` need Python 3.11 to 3.13 and make; everything else is installed into .venv from uv.lock.
PYTHON ?= python3
VENV := .venv
UV_VERSION := 0.13.9
PARAMS ?= params/demo.yaml
SET ?=

.PHONY: study test e2e bench lab lint links install

study: install  ## run the series on synthesised sound into outputs/demo
	$(VENV)/bin/ssenv run $(PARAMS) $(SET)

test: install  ## run the tests, those of AST and of the embeddings too
	$(VENV)/bin/uv sync --frozen --inexact --extra ast --extra embeddings
	$(VENV)/bin/pytest

e2e: install  ## work with the panels and take the listening test in a browser, which CHROMIUM names if it is not on the path
	$(VENV)/bin/uv sync --frozen --inexact --group e2e
	$(VENV)/bin/pytest tests/e2e

bench: install  ## measure speeds side by side into outputs/bench.json
	$(VENV)/bin/uv sync --frozen --inexact --group bench
	$(VENV)/bin/pytest tests/benchmarks
	$(VENV)/bin/python tests/benchmarks/run.py

lab: install  ## open JupyterLab on the first notebook
	$(VENV)/bin/jupyter lab notebooks/00_start_here.ipynb

lint: install  ## check the style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

links: install  ## bring the links between the notebooks up to date with their titles
	$(VENV)/bin/python tools/links.py

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "ssenv needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.11")'
	test -x $(VENV)/bin/uv || { $(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); }
	$(VENV)/bin/uv sync --frozen
	touch $@
