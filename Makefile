# Everything a newcomer needs: `make up`, `make test`. A machine with the Rust toolchain and make is enough; what else is
# missing, scripts/install.sh installs (as root) or names.
.DEFAULT_GOAL := help
.PHONY: help up test verify
SHELL := /bin/bash
SERVERS := target/debug/tidemark-servers

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## build, then run everything in one process with live demo data; Ctrl-C stops it
	@scripts/install.sh build
	@cargo build --release --bin tidemark
	@exec target/release/tidemark up --demo

test: ## every test, on the embedded parts and on real Kafka, CQL store and registry
	@scripts/install.sh test
	@cargo build --workspace
	@$(SERVERS) run -- cargo test --workspace --no-fail-fast \
	  && echo "make test: all tests passed" \
	  || { echo "make test: FAILED; see 'failures:' above" >&2; exit 1; }

verify: ## format, lints, dependency policy, docs, then every test
	@scripts/install.sh verify
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	.tools/bin/cargo-deny --workspace check bans licenses sources
	@.tools/bin/cargo-deny --workspace check advisories || { \
	  .tools/bin/cargo-deny fetch db >/dev/null 2>&1 && exit 1 || \
	  echo "make verify: ADVISORIES WERE NOT CHECKED: the advisory database cannot be fetched from here" >&2; }
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
	@$(MAKE) --no-print-directory test
