# Everything runs in .venv, which is made from envs/requirements.lock (pinned, with hashes) when
# it is missing or older than the lock. Another Python:  make env PYTHON=/path/to/python3.11
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
UV := uv==0.13.9
# Targets stay in front of this: --config takes every word that follows it.
STUDY ?= demo
DEMO := --workflow-profile workflow/profiles/local --config study=$(STUDY) results=reproduced

# Of the tests: one for each core, as far as 16 GB of memory go.
WORKERS := -n logical --maxprocesses 4

# A rule's `python` is the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# True for a Python that the lock has wheels for and that can make environments.
FITS := -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

.PHONY: help env quick demo test lint test-slow test-cluster same clean
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

env: $(READY) ## the environment, in .venv
quick: $(READY) ## the shortest look: the target `quick` at demo scale, into reproduced/demo
	$(BIN)/snakemake quick $(DEMO)
	@$(BIN)/gear page reproduced/$(STUDY)
	@echo "next: .venv/bin/gear compare reproduced/$(STUDY) results/$(STUDY)"

demo: $(READY) ## every table and figure at demo scale, into reproduced/demo, compared with results/demo
	$(BIN)/snakemake all $(DEMO)
	$(BIN)/snakemake all $(DEMO) --report reproduced/$(STUDY)/report.html
	$(BIN)/gear compare reproduced/$(STUDY) results/$(STUDY)
	@$(BIN)/gear page reproduced/$(STUDY)

test: lint ## lint, unit tests and the smoke study
	$(BIN)/python -m pytest -q $(WORKERS) --dist worksteal --ignore tests/slow --ignore tests/slurm

lint: $(READY) ## ruff, basedpyright, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --config study=smoke

# A step of the largest network takes 18 GiB of memory: nothing runs beside it.
test-slow: $(READY) ## kills, resumes and paper-size steps
	$(BIN)/python -m pytest -q -m slow -k "not test_paper_steps" $(WORKERS) --dist loadgroup
	$(BIN)/python -m pytest -q -m slow -k test_paper_steps

test-cluster: $(READY) ## a real SLURM on this machine
	$(BIN)/python -m pytest -q -m cluster

same: $(READY) ## BASE=COMMIT: the smoke study here and at a commit; says whether any number moved
	$(BIN)/python benchmarks/same.py $(BASE)

clean: ## remove the environment and caches; results and data stay
	rm -rf $(VENV) .pytest_cache .ruff_cache gear.egg-info
	find gear tests benchmarks workflow -name __pycache__ -prune -exec rm -rf {} +

# The stamp is touched last, so an interrupted installation starts again.
$(READY): envs/requirements.lock pyproject.toml
	@$(BIN)/python $(FITS) 2>/dev/null || { \
	  for python in $(or $(PYTHON),python3.11 python3); do \
	    if "$$python" $(FITS) 2>/dev/null; then exec "$$python" -m venv --clear $(VENV); fi; \
	  done; \
	  echo "make: $(or $(PYTHON),python3.11 or python3) is not a Python 3.11, 3.12 or 3.13 with its" \
	    "venv module; install one (Debian, Ubuntu: apt install python3.11-venv) and name it:" \
	    "make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	@# uv takes a minute off; without it pip does the same. Companies and universities have
	@# certificates of their own, which uv reads with --system-certs alone.
	@echo "make: the environment in $(VENV) takes 6 GB, most of it torch with CUDA"
	{ $(BIN)/python -m pip install --quiet '$(UV)' && $(BIN)/uv pip install --system-certs \
	    --python $(BIN)/python --require-hashes -r envs/requirements.lock; } \
	  || $(BIN)/python -m pip install --require-hashes -r envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
