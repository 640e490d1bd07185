# make run    the page; flags go into ARGS: make run ARGS="--port 8000 --lang zh"
# make test   all tests; ARGS goes to pytest:  make test ARGS="-k chatml"
# make light  the page without torch: a small install that runs GGUF models and endpoints
# make check  ruff and mypy
# make bench  the figures of docs/benchmarks.md, measured again here
#
# Each makes .venv first, and installs again only when a requirements file changed. PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: run test light check bench

run: $(VENV)/full.stamp
	$(PY) launch.py $(ARGS)

light: $(VENV)/core.stamp
	$(PY) launch.py $(ARGS)

test: $(VENV)/dev.stamp
	$(PY) -m pytest $(ARGS)

check: $(VENV)/dev.stamp
	$(PY) -m ruff check
	$(PY) -m mypy

bench: $(VENV)/full.stamp
	for figure in startup stop reuse vision_reuse writing_prefix; do $(PY) -m bench.$$figure || exit 1; done

$(VENV)/core.stamp: requirements-core.txt | $(PY)
	@echo "Installing $< into $(VENV)"
	$(INSTALL) -r $<
	@touch $@

$(VENV)/full.stamp: requirements.txt | $(PY)
	@echo "Installing $< into $(VENV): about 2 GB, some minutes the first time"
	$(INSTALL) -r $<
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt requirements-modelscope.txt requirements-ocr.txt requirements-painting.txt requirements-pdf.txt requirements.txt | $(PY)
	@echo "Installing $< into $(VENV): about 2 GB, some minutes the first time"
	$(INSTALL) -r $<
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; $(PYTHON) is %d.%d. Choose another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
