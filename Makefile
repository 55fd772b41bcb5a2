# Everything on a fresh machine with Python 3.11: make demo, make test.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test test-slow check bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 11) or sys.exit("tierloop needs Python 3.11 (pybullet has no wheel for %d.%d); install it, or give one: make PYTHON=/path/to/python3.11" % v)' || exit 2
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/tierloop run deployments/sorting-cell.toml

test: $(INSTALLED) check
	$(BIN)/python -m pytest -m "not slow and not process" -n 2 --dist worksteal --cov --cov-report=
	$(BIN)/python -m pytest -m "process and not slow" --cov --cov-append --cov-report=term:skip-covered --cov-fail-under=90

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/tierloop bench

clean:
	rm -rf .venv runs .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
