# Two commands: `make demo` and `make test`. Each makes .venv and installs the pinned dependencies first.
# Needs Python 3.11 or newer and make; no compiler, no database.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
RECEIPTS ?= 20000
PORT ?= 3000
SHOP ?=
SEED ?=
MINUTES ?= 5
READY := $(VENV)/.ready
PEERS := .venv-bench
PEERS_READY := $(PEERS)/.ready
BENCH ?=
RECORDS ?= 10000000
SHOP_OPTION := $(if $(SHOP),--shop "$(SHOP)",)
SEED_OPTION := $(if $(SEED),--seed "$(SEED)",)

.PHONY: help demo dev test check chaos bench bench-ledger guard clean lock bench-lock

help:
	@echo "make demo    the whole loop on loopback, with proof (SHOP=<parquet> for a real shop, RECEIPTS=<n>)"
	@echo "make dev     the stand-ins and the Dagster UI on what the demo left (PORT=$(PORT))"
	@echo "make test    all tests"
	@echo "make check   lint, format, types, floors"
	@echo "make chaos   random faults and kills, then every row is compared (SEED=<n>, MINUTES=$(MINUTES))"
	@echo "make bench   side by side with dlt, drt and a bare script (BENCH=\"--quick\", see python -m benchmarks --help)"
	@echo "make bench-ledger  planning and writing with RECORDS=$(RECORDS) in the ledger, on SQLite and Postgres"
	@echo "make guard   has the product become slower, hungrier or chattier? ratios within one run, under a minute"
	@echo "make clean   remove everything that was made here"

demo: $(READY)
	@$(BIN)/engage demo $(SHOP_OPTION) --receipts $(RECEIPTS) --data $(DATA)

dev: $(READY)
	@$(BIN)/engage dev $(SHOP_OPTION) --data $(DATA) --port $(PORT)

# One process per core; a file's tests stay together, as they share what was set up for them, and come in their order:
# else the file with the longest test, the only one in it, would be begun last.
test: $(READY)
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

chaos: $(READY)
	@$(BIN)/python -m engage_pipelines_tests.chaos $(SEED_OPTION) --minutes $(MINUTES) --data $(DATA)/chaos

# The peers live in an environment of their own; the product imports nothing of them.
bench: $(READY) $(PEERS_READY)
	@$(BIN)/python -m benchmarks $(BENCH)

guard: $(READY)
	@$(BIN)/python -m benchmarks.guard

# Needs 1.2 kB of disk per record in the temporary folder, which is emptied at the end.
bench-ledger: $(READY)
	@$(BIN)/python -m benchmarks.ledger_at_size --records $(RECORDS)

clean:
	find $(DATA) -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} + 2>/dev/null || true
	rm -rf $(VENV) $(PEERS) *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock is complete, so nothing is resolved here: exactly what it names is installed, by hash.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "engage_pipelines needs Python 3.11 or newer")'
	@test -d $(VENV) || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the pinned dependencies (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

$(PEERS_READY): benchmarks/requirements.lock
	@test -d $(PEERS) || { echo "Making $(PEERS)"; $(PYTHON) -m venv $(PEERS); }
	@echo "Installing the peers (once)"
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r benchmarks/requirements.lock
	@echo '*' > $(PEERS)/.gitignore
	@touch $(PEERS_READY)

# For whoever changes pyproject.toml: resolves anew and writes the lock, without the address of any index.
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --quiet \
		--no-annotate --no-header --output-file requirements.lock

# The same for the peers: the extra `bench` alone, without what the product needs.
bench-lock: $(READY)
	$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print("\n".join(project["optional-dependencies"]["bench"]))' | \
		$(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --quiet \
		--no-annotate --no-header --output-file benchmarks/requirements.lock
