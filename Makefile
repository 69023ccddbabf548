# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up first, once.
PYTHON ?= python3
# On a machine without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu spares the download of CUDA.
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test smoke test-all lint setup bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed; $(PYTHON) is {v[0]}.{v[1]}. Set PYTHON=python3.11")'
	@command -v c++ >/dev/null || { echo "a C++ compiler is needed (Debian: apt-get install g++)"; exit 1; }
	@command -v cmake >/dev/null || { echo "CMake is needed (Debian: apt-get install cmake)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@echo "installing the rest; llama-cpp-python is compiled, which takes a few minutes"
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The main job, offline and on a CPU: documents -> question-answer pairs -> LoRA -> 4-bit GGUF -> evaluation -> report.
demo: $(READY)
	$(BIN)/recipe run recipes/duo-dynamics.yaml -p smoke --offline

# Every recipe's smoke profile.
smoke: $(READY)
	$(BIN)/recipe run recipes/*.yaml -p smoke --offline

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/recipe schema --check

test: lint
	$(BIN)/python -m pytest -m "not slow"

# What is slow but valuable: kill loops, real Chromium, fuzzing.
test-all: lint
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 1800 --hypothesis-profile new

bench: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
