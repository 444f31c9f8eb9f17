# make demo · make test · make check · make bench NAME=... ; each sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow simulate test-browser check format bench lock clean
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
export PYTHON
BIN := .venv/bin

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: .venv/ready .venv/debian-demo ## the whole loop on an example shop: make demo ARGS='--report demo.json'
	@$(BIN)/poise demo $(ARGS)

test: .venv/ready .venv/debian-test ## every test but the minutes-long: make test ARGS='tests/model -k budget'
	@$(BIN)/pytest -m 'not slow' --numprocesses 3 --dist loadgroup $(ARGS)

test-slow: .venv/ready .venv/debian-test ## the minutes-long tests
	@$(BIN)/pytest -m slow --timeout 1200 $(ARGS) || [ $$? = 5 ]  # 5: there are none

test-browser: .venv/ready .venv/debian-test ## the pages in a real browser
	@$(BIN)/pytest -m browser $(ARGS)

simulate: .venv/ready ## every controller in 300 seeded worlds of faults, a day each
	@$(BIN)/poise simulate --seeds 300 --days 1 $(ARGS)

check: .venv/ready ## format, lint, types, imports, tidiness
	@$(BIN)/ruff format --check --quiet . || { echo "to mend: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports
	@$(BIN)/pytest tests/tidy

format: .venv/ready ## write the code as ruff would
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: .venv/ready .venv/debian-demo ## measure a claim: make bench NAME=footprint ARGS=--json
	@if [ -z "$(NAME)" ]; then \
	    echo "make bench NAME=<one of these>:"; ls benchmarks/*.py | sed 's/.*\//  /; s/\.py$$//'; exit 2; fi
	@$(BIN)/python benchmarks/$(NAME).py $(ARGS)

lock: .venv/ready ## resolve the dependencies again and write requirements.lock
	@$(BIN)/python tools/lock.py

clean: ## remove what make made
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: requirements.lock pyproject.toml
	@tools/prepare.sh environment
	@touch $@

# what could not be installed is asked for again next time; the target still runs and says what it misses
.venv/debian-demo: | .venv/ready
	@if tools/prepare.sh debian git bubblewrap; then touch $@; else [ $$? = 3 ]; fi

.venv/debian-test: | .venv/ready
	@if tools/prepare.sh debian git bubblewrap chromium prometheus fonts-dejavu-core podman runc busybox-static; then touch $@; else [ $$? = 3 ]; fi
