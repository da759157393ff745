# make demo: one input a task through the whole chain, from a fresh clone, without torch.
# make test: everything that CI checks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint tests clean

demo: $(VENV)/.base
	@$(BIN)/ruie demo

test: lint tests

lint: $(VENV)/.dev
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

# One thread a worker: on a small machine the workers, not the linear algebra, should fill the cores.
tests: $(VENV)/.dev
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest --nbmake notebooks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ruie-components needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo"; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the base package and the Ollama client (no torch)"
	@$(PIP) install -c constraints.txt -e ".[ollama]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing every extra (with torch)"
	@$(PIP) install -c constraints.txt -e ".[all,dev]"
	@touch $(VENV)/.base $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache report.html
