# `make` alone lists what there is. Everything runs from this folder; what is downloaded is kept in the user's cache.

.DEFAULT_GOAL := help
PYTHON ?= python3
RUN := .venv/bin/python -m

.PHONY: help setup setup-browser demo demo-check test test-deep mutants chaos chaos-planted check bench bench-core bench-engine bench-scale bench-loader lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup:  ## fetch what is needed (seconds when nothing changed)
	@$(PYTHON) deploy/setup.py

setup-browser:
	@$(PYTHON) deploy/setup.py --browser

demo: setup  ## two training programmes alive in the browser; TEACHERS=50000 for more
	@$(RUN) deploy.demo run $(if $(TEACHERS),--teachers $(TEACHERS))

demo-check: setup  ## the demo without a person: load, compare, stop; fails unless all agrees
	@$(RUN) deploy.demo check $(if $(TEACHERS),--teachers $(TEACHERS))

test: setup-browser  ## every test, on the real servers and in Chromium
	@$(RUN) pytest

test-deep: setup  ## 100,000 generated event sets against the rules written a second time, about half an hour; SETS=3000 for fewer
	@$(RUN) tests.properties.deep $(if $(SETS),--sets $(SETS)) $(if $(FIRST),--first $(FIRST))

mutants: setup  ## plants wrong rules one at a time: the fast tests have to catch every one; ONLY=PATTERN for some
	@$(RUN) tests.mutants $(if $(ONLY),--only '$(ONLY)')

chaos: setup  ## seeded runs that kill, stop and restart everything, then compare every row; RUNS=200 for more, SEED=n for one again
	@$(RUN) tests.chaos $(if $(SEED),--first $(SEED) --runs 1,$(if $(RUNS),--runs $(RUNS)) $(if $(FIRST),--first $(FIRST))) $(if $(JOBS),--jobs $(JOBS))

chaos-planted: setup  ## plants mistakes in a copy of the tree: the chaos runs have to find every one; ONLY=PATTERN for some
	@$(RUN) tests.chaos.planted $(if $(ONLY),--only '$(ONLY)') $(if $(JOBS),--jobs $(JOBS))

check: setup  ## ruff, mypy --strict, import-linter
	@bad=0; .venv/bin/ruff check . || bad=1; .venv/bin/mypy || bad=1; .venv/bin/lint-imports || bad=1; exit $$bad

bench: setup  ## figures of this machine: events a second, seconds from event to row
	@$(RUN) tests.bench

bench-core: setup  ## what the pure core costs on one core, without servers
	@$(RUN) tests.bench.core

bench-engine: setup  ## scoring beside stock faust, a raw loop and quixstreams on one topic; EVENTS=, LEARNERS=, ROUNDS=, PEERS=java
	@$(RUN) tests.bench.engine $(if $(EVENTS),--events $(EVENTS)) $(if $(LEARNERS),--learners $(LEARNERS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PEERS),--peers $(PEERS))

bench-scale: setup  ## a log that grows to EVENTS=10000000: cost of an event, memory of a learner, restart, the log counted anew
	@$(RUN) tests.bench.scale $(if $(EVENTS),--events $(EVENTS))

bench-loader: setup  ## the loader beside clickhouse-driver alone, in turns on the same rows; EVENTS=1000000, ROUNDS=3
	@$(RUN) tests.bench.loader $(if $(EVENTS),--events $(EVENTS)) $(if $(ROUNDS),--rounds $(ROUNDS))

lock:  ## lock the requirements anew, with hashes and without an index's address
	@$(PYTHON) deploy/setup.py --lock

clean:  ## remove what set-up made in this folder, caches of tools, logs of tests; never data
	@rm -rf .venv .venv.lock .venv.*.new .venv.*.old node_modules deploy/local/jars .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find schemas services -name '*.so*' -delete
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
