# The two commands of the README, and what they are made of. `make` alone lists the targets.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/simple-analytics/target

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.PHONY: setup
setup: ## install what building needs (Debian, Ubuntu) and fetch the run-time files
	@scripts/setup.sh

.PHONY: build
build: setup ## build the release binary
	cargo build --release --package simple-analytics

.PHONY: serve
serve: build ## build, then serve on http://127.0.0.1:8000 with data in ./data
	$(CARGO_TARGET_DIR)/release/simple-analytics serve $(ARGS)

.PHONY: test
test: ## set up, then run every test
	@scripts/setup.sh --tests
	@scripts/test.sh

.PHONY: check
check: setup ## format and lint, as the gate does
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --quiet

.PHONY: bench
bench: build ## the performance bars of docs/performance.md
	$(CARGO_TARGET_DIR)/release/simple-analytics bench all $(ARGS)

.PHONY: stack
stack: build ## run the stack of deploy/compose.yaml as plain processes on loopback, until Ctrl-C
	@scripts/setup.sh --tests
	@scripts/stack.sh $(ARGS)
