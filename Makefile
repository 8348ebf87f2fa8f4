# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SERVE  ?= 1
ALL    ?= 0
PORT   ?= 8866
NAME   ?=

export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
export PYTHONWARNINGS := ignore::DeprecationWarning:jupyter_client

.PHONY: help setup demo test lint format bench lab wheel lock browser java pictures clean

help:  ## what each target does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | column -t -s '|'

setup: $(VENV)/.ready  ## create the virtual environment from the lock

# The lock is the whole truth (--no-deps): it leaves out the GPU library that xgboost names but does not need.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cdpkit needs Python 3.11 or newer; got $$($(PYTHON) --version). Give another one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot create virtual environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock || \
	  $(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## from generated raw exports to dashboards (SERVE=0 stops after the run, ALL=1 runs every notebook)
	$(BIN)/cdpkit demo $(if $(filter 1,$(ALL)),--all) $(if $(filter 0,$(SERVE)),--no-serve,--serve) --port $(PORT)

# The tests of a file share costly fixtures, so one worker takes them all. Marks of groups would not do: pytest 9.2
# and pytest-xdist 3.8 ignore them together, without a word (pytest-xdist issue 1386).
test: lint browser java  ## lint, types, doctests and every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15

lint: setup  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The browser tests drive a real Chromium. As root on Debian it is installed; elsewhere the reader is told what to do.
browser: setup
	@$(BIN)/python tests/browser.py >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	  fi; }
	@$(BIN)/python tests/browser.py >/dev/null

# Spark runs on Java. As root on Debian it is installed; elsewhere the Spark tests skip and say what to do.
java: setup
	@$(BIN)/python -c 'import sys; from cdpkit.engine.spark import why_not; sys.exit(why_not() == "no java")' || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq default-jre-headless >/dev/null; \
	  else echo "No Java: the Spark tests will be skipped. On Debian or Ubuntu: apt-get install default-jre-headless"; fi; }

bench: setup  ## measure (NAME=appetence for one); results in tests/benchmarks/results
	@for file in tests/benchmarks/bench_$(if $(NAME),$(NAME),*).py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

pictures: setup browser  ## the pictures of the README, from the workspace of the last run
	$(BIN)/python tests/pictures.py --home . --out dashboards/pictures >/dev/null
	cd dashboards/pictures && rm -f *-whole.png home-fr.png appetence-en.png

lab: setup  ## JupyterLab on the notebooks, the tour first
	$(BIN)/jupyter lab --ip 127.0.0.1 --notebook-dir . --LabApp.news_url= notebooks/00_tour.ipynb

wheel: setup  ## build the wheel that models name as their requirement
	$(BIN)/python -m hatchling build -t wheel

lock: setup  ## resolve the lock again from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra workbench --extra test \
	  --no-emit-index-url --no-header --no-annotate --upgrade pyproject.toml -o requirements.lock
	sed -i '/^nvidia-nccl/d' requirements.lock

# A lake can be made again from raw exports and decisions, but not the list of who was erased, nor its key.
KEPT = $(if $(filter 1,$(ALL)),,! -name suppressed.txt)
clean:  ## remove what runs made, keeping inputs, keys and who was erased (ALL=1 removes these too)
	@[ ! -e data/lake/ERASING ] || [ "$(ALL)" = 1 ] || \
	  { echo "An erasure was cut short; the next run completes it. Clean after that."; exit 1; }
	if [ -d data/lake ]; then find data/lake -mindepth 1 -maxdepth 1 $(KEPT) -exec rm -rf {} +; fi
	rm -rf data/published data/exports data/runs
	$(if $(filter 1,$(ALL)),rm -rf data/lake data/raw data/truth data/decisions data/workspaces data/keys)
	rm -rf mlruns/mlflow.db* mlruns/artifacts dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
