# `make demo` and `make test` install what they need; `make help` lists the rest.
SHELL := /bin/sh
PYTHON := .venv/bin/python
# What runs on a device, where the oldest Python is 3.8.
DEVICE_PYTHON = agent $(wildcard roles/export_limiter/files)
SHELL_SCRIPTS = $(shell git grep -lIE '^\#!/bin/(ba)?sh' -- . 2>/dev/null)

# Ansible must not take settings, paths or a locale from whoever calls make.
unexport $(filter ANSIBLE_%,$(.VARIABLES)) PYTHONPATH PYTHONHOME VIRTUAL_ENV LANG LANGUAGE
export LC_ALL := C.UTF-8
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help demo picture test test-all bench bench-fleet guard lint format pin fleet-up fleet-down lock setup clean

help: ## List what can be made
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## Deploy to two simulated GX devices, raise the loads, judge how the limits held
	@PYTHONPATH=tests:agent $(PYTHON) -m demo

picture: ## Make the README's pictures again: the plot of the demo, and the page of a fleet
	@sh tests/setup.sh --test
	@PYTHONPATH=tests:agent $(PYTHON) -m page.picture tests/page
	@PYTHONPATH=tests:agent $(PYTHON) -m demo --picture tests/demo/demo.png

test: ## All tests but those that take minutes
	@sh tests/setup.sh --test
	@$(PYTHON) -m pytest -m 'not slow'

test-all: ## All tests
	@sh tests/setup.sh --all
	@$(PYTHON) -m pytest

bench: setup ## Measure control quality and cost beside others, into build/bench (minutes)
	@PYTHONPATH=tests:agent $(PYTHON) -m bench

bench-fleet: setup ## Upgrade over 300 ms and 1 Mbit/s beside stock modules; 500 devices (minutes)
	@PYTHONPATH=tests:agent $(PYTHON) -m link

guard: setup ## Record the law's figures anew, for review
	@PYTHONPATH=tests:agent $(PYTHON) -m bench.guard

lint: ## Every checker: format, rules, types, YAML, Ansible, shell
	@sh tests/setup.sh --lint
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	.venv/bin/vermin -q --violations --no-tips -t=3.8- $(DEVICE_PYTHON)
	$(PYTHON) -m yamllint --strict .
	$(PYTHON) -m ansiblelint --strict -q
	shellcheck $(SHELL_SCRIPTS)

format: setup ## Format the Python files
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix --quiet .

pin: setup ## Print the two inventory lines that pin this commit's agent
	@$(PYTHON) roles/export_limiter/controller/pin.py

fleet-up: setup ## Start the simulated devices and leave them running, with an inventory for the playbooks
	@PYTHONPATH=tests:agent $(PYTHON) -m gx.fleet up

fleet-down: setup ## Stop the simulated devices
	@PYTHONPATH=tests:agent $(PYTHON) -m gx.fleet down

lock: setup ## Choose the versions in requirements.txt anew
	@sh tests/lock.sh

setup:
	@sh tests/setup.sh

clean: ## Remove everything that was made here
	@[ ! -x .fleet/fleet ] || .fleet/fleet down
	rm -rf .fleet .venv build .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find agent playbooks roles tests -name __pycache__ -type d -prune -exec rm -rf {} +
