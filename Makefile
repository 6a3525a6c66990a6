# make quickstart   train, test and look at a small network, from nothing, in minutes
# make compare      TRAIN=DIR TEST=DIR [MINUTES=5] [OUT=experiments/compare]: the small networks side by side
# make demo         a page in the browser that hides and reveals, on this machine only
# make test         the tests, without those that take over 20 s each
# make test-slow    the slow ones
# make lint         style and types
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MINUTES ?= 5
OUT     ?= experiments/compare

.PHONY: setup quickstart compare demo test test-slow lint clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

quickstart: setup
	$(BIN)/python train.py -opt options/train/quickstart.yml
	$(BIN)/python test.py -opt options/test/quickstart.yml

compare: setup
	$(if $(and $(TRAIN),$(TEST)),,$(error say where the pictures are: make compare TRAIN=DIR TEST=DIR))
	$(BIN)/python scripts/compare.py --train $(TRAIN) --test $(TEST) --minutes $(MINUTES) --out $(OUT)

demo: setup
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	$(BIN)/python -u scripts/demo.py

# One thread a process: two workers on two cores do not fight over them.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow"

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy train.py test.py hide.py reveal.py hubconf.py errors.py engine models metrics channel container data options scripts

clean:
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
