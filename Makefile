# Two commands work alone on a fresh machine: `make run` (learn, record, imitate) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOW := $(shell date +%Y%m%d-%H%M%S)
RUN ?= runs/quickstart-$(NOW)
LOCAL := $(BIN)/python launch/local.py --preset quickstart --actors 32

.PHONY: setup run test test-all chaos fuzz lint format bench
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q uv
	links=$$($(PYTHON) -m pip config get :env:.find-links 2>/dev/null) && export UV_FIND_LINKS=$$links; \
	$(BIN)/uv pip install -q --compile-bytecode -p $(BIN)/python -c constraints.txt -e '.[test,plot,pettingzoo,video,pictures,sc2,tensorboard]' \
	  || $(BIN)/pip install -q -c constraints.txt -e '.[test,plot,pettingzoo,video,pictures,sc2,tensorboard]'
	touch $@

run: setup
	@echo "== 1/3  an expert team learns 3m from its reward"
	$(LOCAL) --algorithm ippo --run-dir $(RUN)/expert
	@echo "== 2/3  it records demonstrations"
	$(BIN)/dm2 record $(RUN)/expert --episodes 200 --output $(RUN)/demonstrations
	@echo "== 3/3  a new team learns with DM2: its reward, and one discriminator per agent"
	$(LOCAL) --algorithm dm2 --demonstrations $(RUN)/demonstrations --run-dir $(RUN)/dm2

test: setup
	$(BIN)/python -m pytest -q -m "not slow and not chaos_soak and not gpu and not peers"

test-all: setup
	$(BIN)/python -m pytest -q

# Twenty minutes of kills, stops, cuts and garbage; CHAOS_SEED=7 and CHAOS_MINUTES=60 change it.
CHAOS_SEED ?= 1
CHAOS_MINUTES ?= 20
chaos: setup
	$(BIN)/dm2 chaos --seed $(CHAOS_SEED) --minutes $(CHAOS_MINUTES) --kills 20 --others 12 --run-dir runs/chaos-$(NOW) \
	  -- local --preset quickstart --schedule pipelined --actors 4 --max-env-steps 40000

# Random bytes, and real messages changed at random, at every door: a million of them.
fuzz: setup
	$(BIN)/python tests/fuzz/run.py

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup
	$(BIN)/dm2 bench
