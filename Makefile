# Each target sets up what it needs from the lock files, and does nothing where nothing changed.
# On a fresh machine: python3 (3.11 or newer) and make. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

DEV := .venv-dev/bin
# Processes that run tests: three for two cores, since tests wait for others for a third of their time.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )))
# uv's cooldown: a release is taken up a week after it appeared, when a malicious one has been withdrawn.
COMPILE := $(DEV)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --exclude-newer '7 days'

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## The main job on the embedded GitHub and AWS: no account, no network (ARGS="--help" for more)
	@scripts/system-packages.sh curl jq
	@scripts/setup.sh run
	@PYTHONPATH="$(CURDIR)" .venv/bin/python -P -m scaler demo $(ARGS)

.PHONY: test
test: dev data ## All tests (ARGS="-k name" for some)
	@$(DEV)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: test-action
test-action: dev npm data ## The action as GitHub runs it: workflows to outputs, by the runner's rules (part of the tests)
	@$(DEV)/python -m pytest -n $(WORKERS) tests/test_action_*.py $(ARGS)

.PHONY: test-image
test-image: dev data ## The image for real, as root: built by packer, booted in a Debian root (3 minutes; ARGS="-k name" for some)
	@scripts/system-packages.sh debootstrap ip nsenter packer ssh-keygen systemd-nspawn unshare || [[ -z "$${CI:-}" ]]
	@root=(); [[ $$EUID -eq 0 || -z "$${CI:-}" ]] || root=(sudo -n --preserve-env=CI); \
	"$${root[@]}" $(DEV)/python -m pytest -n auto -m image $(ARGS)

.PHONY: check
check: dev npm data ## What CI runs: format, linters, types, tests
	@$(MAKE) --no-print-directory --jobs --output-sync lint types
	@$(MAKE) --no-print-directory test

.PHONY: lint
lint: dev npm ## Format check, ruff, and the linters of actions and shell
	@$(DEV)/ruff format --check --quiet . || { echo 'Not formatted: make format'; exit 1; }
	@$(DEV)/ruff check --quiet .
	@$(DEV)/python scripts/lint.py

.PHONY: types
types: dev ## mypy --strict
	@$(DEV)/mypy

.PHONY: format
format: dev ## Format Python and shell
	@$(DEV)/ruff format .
	@$(DEV)/ruff check --fix --quiet . || true
	@$(DEV)/shfmt --write scripts packer .ci/run

.PHONY: coverage
coverage: dev data ## Tests, with the lines and branches they miss (slower)
	@$(DEV)/coverage erase
	@$(DEV)/coverage run -m pytest $(ARGS)
	@$(DEV)/coverage combine --quiet
	@$(DEV)/coverage report

.PHONY: soak
soak: dev ## A month under fault weather in virtual time: jobs killed, instances immortal, caps overrun (3 minutes)
	@$(DEV)/python -m benchmarks.soak $(ARGS)

.PHONY: bench
bench: dev ## One tick over up to 500 repositories: ours, others' ways and the bound (20 minutes; ARGS="--help" for more)
	@$(DEV)/python -m benchmarks.bench $(ARGS)

.PHONY: bench-boot
bench-boot: dev ## Seconds per step from the boot script's start to a listener, in the image, as root (1 minute; ARGS="--help")
	@$(DEV)/python -m benchmarks.boot $(ARGS)

.PHONY: bench-launching
bench-launching: dev ## A hundred runners with their secrets: ours, the bound of the buckets, the original's way (2 minutes)
	@$(DEV)/python -m benchmarks.launching $(ARGS)

.PHONY: bench-start
bench-start: dev ## From the action's first step to its first request: ours, venv and pip, a JavaScript action (5 minutes)
	@scripts/system-packages.sh node npm
	@$(DEV)/python -m benchmarks.starting $(ARGS)

.PHONY: screenshots
screenshots: dev npm ## The job summary of four watches, as GitHub draws it, into docs/ (a minute)
	@scripts/system-packages.sh chromium pngquant
	@$(DEV)/python -m tests.screenshots

.PHONY: bench-clocks
bench-clocks: dev ## A day under each clock in virtual time: how long jobs wait, how many hosted minutes it takes (5 minutes)
	@$(DEV)/python -m benchmarks.clocks $(ARGS)

.PHONY: search
search: dev ## Every schedule of two ticks at once, for one over a cap (ARGS="--help" for more)
	@$(DEV)/python -m search $(ARGS)

.PHONY: mutants
mutants: dev data ## Does the rig bite? Faults by hand and by the thousand, which the tests must find (40 minutes)
	@$(DEV)/python -m tests.mutants $(ARGS)

.PHONY: lock
lock: dev ## Renew the lock files from pyproject.toml and package.json
	@$(COMPILE) --upgrade --output-file requirements.txt
	@$(COMPILE) --upgrade --extra dev --constraints requirements.txt --output-file requirements-dev.txt
	@npm install --package-lock-only --silent

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf .venv .venv-dev .cache node_modules build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: dev
dev:
	@scripts/system-packages.sh curl jq || [[ -z "$${CI:-}" ]]
	@scripts/system-packages.sh packer systemd-analyze || true
	@scripts/setup.sh dev

.PHONY: npm
npm:
	@scripts/system-packages.sh node npm || [[ -z "$${CI:-}" ]]
	@if type -P npm >/dev/null; then scripts/setup.sh npm; fi

# What the tests read that is not ours to commit: GitHub's API description (npm), recorded exchanges (pip).
.PHONY: data
data: dev npm
	@$(DEV)/python -m tests.fetched >/dev/null || [[ -z "$${CI:-}" ]]
