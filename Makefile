# Needs python3 (3.11 or later), its venv module and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test fuzz lint format docs clean

demo: .venv/.installed-demo
	$(BIN)/amvur reconstruct examples --output output/demo
	@echo "Look at output/demo: *_overlay.png (pictures), *.glb (3D, any glTF viewer), *.json (numbers)."

test: .venv/.installed
	@$(BIN)/python -m pytest -n 2

# Damaged files for every reader, from a fixed seed: FUZZ_SECONDS for all together, beside some for preparing.
FUZZ_SECONDS ?= 60
fuzz: .venv/.installed
	@$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/.installed-docs
	$(BIN)/mkdocs build --strict
	@echo "Open site/index.html."

clean:
	rm -rf .venv build site output

# An installation is repeated only when what it depends on has changed. What reconstructs is light; what trains and
# tests brings PyTorch.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { \
		echo "amvur needs Python 3.11 or later, found $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed-demo: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e .
	touch $@

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e ".[dev]"
	touch $@ .venv/.installed-demo

.venv/.installed-docs: .venv/.installed
	$(INSTALL) -e ".[docs]"
	touch $@
