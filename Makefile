# One command sets up, each of the others calls it; `make mini` and `make test` are all that a new machine needs.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: setup mini bicycle-mini foldable-mini test lint format bench

setup: $(INSTALLED)

$(INSTALLED): setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --only-binary :all: --editable '.[dev]'
	@$(BIN)/python -m pip install --quiet --only-binary flashlight-text --editable '.[ngram]' >/dev/null 2>&1 \
		|| echo "n-gram beam search will run in NumPy: flashlight-text and kenlm cannot be installed here"
	touch $@

# The main job: synthesize a corpus, train, decode at every loop count, report.
mini: setup
	cd recipes/LibriSpeech && ../../$(BIN)/python train.py hparams/mini.yaml

# BiCycle beside all its rivals at the size of mini: teacher, students, one table.
bicycle-mini: setup
	PATH="$(abspath $(BIN)):$$PATH" sh recipes/LibriSpeech/bicycle_mini.sh

# Foldable beside models of one depth at the size of mini: every path to every depth, one table, one plot.
foldable-mini: setup
	PATH="$(abspath $(BIN)):$$PATH" sh recipes/Switchboard/foldable_mini.sh

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/yamllint --strict recipes .yamllint.yaml

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python benchmarks/encoder.py
	$(BIN)/python benchmarks/larm.py
	$(BIN)/python benchmarks/larm.py --compile
	$(BIN)/python benchmarks/beam_search.py
	$(BIN)/python benchmarks/side_by_side.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/streaming.py
