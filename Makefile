# `make run` and `make test` work in a fresh clone with nothing but Python 3.11 or newer, and are quick from then on.

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

# The first of these that is 3.11 or newer; 3.11 leads because it is the one the tests run on.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,\
    $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))

.PHONY: help run test dev lint fuzz bench accuracy conformance zoo tensorflow package clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/installed-run ## the demonstration; CHECKPOINT=FILE and IMAGENET=FOLDER for the published model
	$(BIN)/python examples/demo.py $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)') $(if $(IMAGENET),--imagenet '$(IMAGENET)')

test: lint ## everything that has to pass
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0

dev: $(VENV)/installed-dev ## install every extra

lint: $(VENV)/installed-test ## formatting, rules, types, layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/installed-test ## the exhaustive and the long random tests
	$(BIN)/python -m pytest -n $(WORKERS) --max-worker-restart 0 -m fuzz --timeout 0

bench: $(VENV)/installed-dev ## measure against other engines; BENCH='...' for its options
	$(BIN)/python -m bench $(BENCH)

accuracy: $(VENV)/installed-dev ## every mode on real pictures, and docs/accuracy; ACCURACY='...' for its options
	$(BIN)/python -m bench.accuracy $(ACCURACY)

zoo: $(VENV)/installed-dev ## every model of the zoo by both ways beside PyTorch, and docs/models.md; ZOO='...' for its options
	$(BIN)/python -m bench.zoo $(ZOO)

tensorflow: $(VENV)/installed-tensorflow ## install TensorFlow (1.6 GB) and run the tests of its models
	$(BIN)/python -m pytest tests/frontends/tensorflow --timeout 0

conformance: $(VENV)/installed-test ## ONNX's node tests through the compiled path, and docs/conformance.md
	$(BIN)/python -m bench.conformance --output docs/conformance.md

package: $(VENV)/installed-test ## the wheel and the sdist, in dist/
	$(BIN)/python -m build

clean: ## remove what was built, keep the environment
	rm -rf build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path './.*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "error: Python: expected 3.11 or newer on PATH, got none (or say make PYTHON=...)"; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	    sys.exit(f"error: $(PYTHON): expected Python 3.11 or newer, got {v[0]}.{v[1]}" if v < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Each stamp says which extras are in the environment; the larger sets hold the smaller ones.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --editable

$(VENV)/installed-run: $(VENV)/pyvenv.cfg pyproject.toml
	$(INSTALL) '.[torch,demo]'
	touch $@

$(VENV)/installed-test: $(VENV)/pyvenv.cfg pyproject.toml
	$(INSTALL) '.[dev]'
	touch $@ $(VENV)/installed-run

$(VENV)/installed-tensorflow: $(VENV)/installed-test pyproject.toml
	$(INSTALL) '.[dev,tensorflow]'
	touch $@

$(VENV)/installed-dev: $(VENV)/pyvenv.cfg pyproject.toml
	$(INSTALL) '.[dev,bench,report]'
	touch $@ $(VENV)/installed-run $(VENV)/installed-test
