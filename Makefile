# Everything on a fresh machine with Python 3.11 to 3.13: make demo, make test.
FIT := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3 python3.13 python3.12; do \
	$$p -c '$(FIT)' 2>/dev/null && echo $$p && exit; done; echo python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
# The tests sync thousands of small files: in memory where there is room, so that no disk sets their pace.
export PYTEST_DEBUG_TEMPROOT ?= $(shell test "$$(df --output=avail -m /dev/shm 2>/dev/null | tail -1)" -gt 2000 2>/dev/null && echo /dev/shm)
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of Pythons; each would compile the project anew

.PHONY: install demo test test-untimed test-slow check bench figures same attack kills soak clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(FIT)' || { echo 'tierloop needs Python 3.11 to 3.13; install one, or give one: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 11) or print("pybullet has no wheel for Python %d.%d: pip compiles it, which needs a C++ compiler and some three minutes" % v, flush=True)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/tierloop run deployments/sorting-cell.toml

test: $(INSTALLED)  # the types are checked while the tests wait for their processes
	@$(MAKE) --no-print-directory --jobs 2 check test-untimed
	$(BIN)/python -m pytest -m "process and not slow" $$(grep -rl mark.process tests --include='test_*.py') --cov --cov-append --cov-report=term:skip-covered --cov-fail-under=90

test-untimed: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not process" -n 2 --dist worksteal --cov --cov-report=

test-slow: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[oracle]'
	$(BIN)/python -m pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/house/house.py

bench: $(INSTALLED)
	$(BIN)/tierloop bench

figures: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[oracle]'
	$(BIN)/python tests/house/figures.py

BASE ?= main
same: $(INSTALLED)
	$(BIN)/tierloop same $(BASE) .

attack: $(INSTALLED)
	$(BIN)/python tests/hostile/attack.py

kills: $(INSTALLED)
	$(BIN)/python tests/hostile/kills.py

soak: $(INSTALLED)
	$(BIN)/python tests/hostile/soak.py

clean:
	rm -rf .venv runs .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
