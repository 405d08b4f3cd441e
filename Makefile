# Two commands to begin with: `make demo` sets up and runs the quickstart sweep, `make test` sets up and runs the tests.
# For contributors: `make quick` (tests without Ray, a minute), `make check` (style, spelling, types), `make slow`,
# `make coverage`, `make oldest`, `make docs`. PYTHON=... chooses the interpreter; without it the newest of these that is at least 3.11 is taken.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# The oldest versions of our dependencies have no wheels for the newest Pythons.
OLDEST_PYTHON ?= $(firstword $(shell for p in python3.11 python3.12; do command -v $$p; done) $(PYTHON))
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup
QUICK := -m 'not slow and not ray and not thorough'
# Bytecode is written as modules are imported: compiling all of the packages first takes longer than installing them.
# Containers often forbid to write it. Then every process would compile torch again, which takes longer than its work.
unexport PYTHONDONTWRITEBYTECODE
PIP := python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: demo test quick slow coverage oldest check docs setup clean

demo: setup
	$(BIN)/archsweep run sweeps/quickstart.yaml --no-cache

test: .venv/.installed-test
	$(PYTEST)

quick: .venv/.installed-test
	$(PYTEST) $(QUICK)

slow: .venv/.installed-test
	$(PYTEST) -m slow

# Of the quick tests: measuring the whole suite takes too long, and workers of Ray would not be counted.
coverage: .venv/.installed-test
	$(PYTEST) $(QUICK) --cov --cov-report=
	@for package in archsweep search_space modelzoo results runners; do \
		echo "covered by the quick tests: $$package $$($(BIN)/coverage report --include="$$package/*" --format=total) %"; done

oldest: .venv-oldest/.installed
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -q -n 2 --dist loadgroup $(QUICK)

check: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright
	.ci/schema_is_current

docs: .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

setup: .venv/.installed

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "archsweep needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || true)." >&2; \
		echo "Install one, or name it: make demo PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
		sys.exit(f"archsweep needs Python 3.11 or newer; $(PYTHON) is {v}. Choose another: make demo PYTHON=python3.12" \
		if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) -c constraints.txt -e .
	@touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/$(PIP) -c constraints.txt -e '.[test]'
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(BIN)/$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

.venv-oldest/.installed: pyproject.toml .ci/oldest_versions.py
	rm -rf .venv-oldest
	$(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/$(PIP) packaging
	.venv-oldest/bin/python .ci/oldest_versions.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/$(PIP) -c .venv-oldest/constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf .venv .venv-oldest .pytest_cache .ruff_cache .coverage site
