# Everything is set up from here: a machine needs Python 3.11 or newer with venv, and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first Python that works and is new enough; a name on PATH may be a shim with nothing behind it.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do \
	"$$p" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v "$$p"; break; }; done)

UV := .tools/uv/bin/uv
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv/dev
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NUMBA_CACHE_DIR := $(CURDIR)/.numba_cache
export PYTHONPATH := $(CURDIR)
export PATH := $(PATH):/usr/sbin:/sbin

# What is locked. Every set holds the run-time packages at the same versions.
LOCKS := runtime demo dev bench build tools
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: demo
demo: .venv/demo/.ready ## A whole store without hardware; ARGS="--seconds 60 --json out.json"
	@.venv/demo/bin/python -m edge demo $(ARGS)

.PHONY: test
test: .venv/dev/.ready mosquitto socat postgresql ## The tests; ARGS="-k word"
	@.venv/dev/bin/python -m pytest $(ARGS)

.PHONY: sim
sim: .venv/dev/.ready ## Seeded histories of a shop, and the mutants they catch; SEEDS=20000 ARGS="--mutant-seeds 500"
	@.venv/dev/bin/python tests/sim/run.py --seeds $(or $(SEEDS),1000) $(ARGS)

.PHONY: replay
replay: .venv/dev/.ready ## One of those histories told aloud; SEED=4711 MUTANT=no_dwell
	@.venv/dev/bin/python tests/sim/run.py --replay $(SEED) $(if $(MUTANT),--mutant $(MUTANT))

.PHONY: lint
lint: .venv/dev/.ready ## Style: ruff check and format
	@.venv/dev/bin/ruff check .
	@.venv/dev/bin/ruff format --check .

.PHONY: types
types: .venv/dev/.ready ## Types: mypy, strict
	@.venv/dev/bin/mypy

.PHONY: verify-unit
verify-unit: ## Stage an installation and check its systemd unit
	@rm -rf build/stage
	@$(MAKE) --no-print-directory install DESTDIR="$(CURDIR)/build/stage"
	@systemd/verify.sh "$(CURDIR)/build/stage"

.PHONY: real-store
real-store: .venv/bench/.ready ## Real grocery data through the running daemon; ARGS="--store 367 --weeks 8 --json out.json"
	@.venv/bench/bin/python bench/real_store.py $(ARGS)

.PHONY: bench-render
bench-render: .venv/bench/.ready ## The renderer against others; ARGS="--json out.json --only label"
	@systemd/debian-package.sh libcairo.so.2 libcairo2
	@systemd/debian-package.sh libEGL.so.1 libegl1
	@systemd/debian-package.sh libGL.so.1 libgl1
	@.venv/bench/bin/python bench/render_bench.py $(ARGS)

.PHONY: bench-fleet
bench-fleet: .venv/dev/.ready mosquitto postgresql ## Head office under a fleet of stores; ARGS="--stores 500 --seconds 60 --json out.json"
	@.venv/dev/bin/python -m bench.fleet $(ARGS)

.PHONY: crash-hq
crash-hq: .venv/dev/.ready mosquitto postgresql ## Kill head office's workers and brokers for minutes; ARGS="--minutes 10 --postgres"
	@.venv/dev/bin/python -m bench.fleet_crash $(ARGS)

.PHONY: bench-lane
bench-lane: .venv/bench/.ready mosquitto ## The lanes against others, under load; ARGS="--json out.json --only sale --seconds 30"
	@systemd/debian-package.sh cc build-essential
	@.venv/bench/bin/python bench/lane_bench.py $(ARGS)

.PHONY: bench-hq
bench-hq: .venv/bench/.ready mosquitto ## HQ's word on its way to disk and till; ARGS="--json out.json"
	@.venv/bench/bin/python -m bench.hq_path $(ARGS)

.PHONY: install
install: $(UV) ## Install or upgrade the service (root); DESTDIR=dir only stages the files
	@DESTDIR="$(DESTDIR)" UV="$(CURDIR)/$(UV)" systemd/install.sh install

.PHONY: uninstall
uninstall: ## Remove the service; its data and configuration stay
	@DESTDIR="$(DESTDIR)" systemd/install.sh uninstall

.PHONY: lock
lock: $(UV) ## Resolve the requirements again; ARGS="--upgrade" takes newer versions
	@$(LOCK) $(ARGS) pyproject.toml -o requirements/runtime.txt
	@$(LOCK) $(ARGS) -c requirements/runtime.txt --extra demo pyproject.toml -o requirements/demo.txt
	@$(LOCK) $(ARGS) -c requirements/demo.txt --group dev pyproject.toml -o requirements/dev.txt
	@$(LOCK) $(ARGS) -c requirements/demo.txt --group bench pyproject.toml -o requirements/bench.txt
	@$(LOCK) $(ARGS) --group build -o requirements/build.txt
	@$(LOCK) $(ARGS) --group tools -o requirements/tools.txt

.PHONY: clean
clean: ## Remove what was built; the environments stay
	rm -rf build dist .numba_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A private uv, checked against its hash. The only thing that pip installs.
$(UV): requirements/tools.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv found; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up .tools with $(PYTHON)"
	@rm -rf .tools/uv
	@"$(PYTHON)" -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/tools.txt
	@touch $@

# One environment per set, exactly what its lock says. The stamp is written last, so that a broken set-up is done again.
.venv/%/.ready: requirements/%.txt $(UV)
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv found; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up .venv/$* from $<"
	@rm -rf .venv/$*
	@$(UV) venv --quiet --no-config --python "$(PYTHON)" .venv/$*
	@$(UV) pip sync --quiet --require-hashes --python .venv/$*/bin/python $<
	@touch $@

# The tests talk to a real broker besides the embedded one.
.PHONY: mosquitto
mosquitto:
	@systemd/debian-package.sh mosquitto mosquitto

# One of the lane clients in docs/clients is a shell script around it.
.PHONY: socat
socat:
	@systemd/debian-package.sh socat socat

# Head office is held to a real PostgreSQL besides SQLite. Its server is not on the PATH; what manages it is.
.PHONY: postgresql
postgresql:
	@systemd/debian-package.sh pg_ctlcluster postgresql
