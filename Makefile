# Everything a newcomer needs: `make up`, `make test`. A machine with the Rust toolchain and make is enough; what else is
# missing, scripts/install.sh installs (as root) or names.
.DEFAULT_GOAL := help
.PHONY: help up test verify faults mutants fuzz
SHELL := /bin/bash
SERVERS := target/debug/tidemark-servers
TRIALS_BIN := target/debug/tidemark-trials

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

# ONLY names a part of a test in tests/faults/long.rs or of an entry in tests/faults/elsewhere.toml, TRIALS bounds the trials of each.
# Results are kept under tests/faults/results, one file a fault: a run can be cut, and goes on with ONLY.
faults: ## long fault trials on real servers (hours; ONLY=kill TRIALS=10 for less); writes docs/faults.md
	@scripts/install.sh test
	@cargo build --workspace
	@$(SERVERS) run -- cargo test -p tidemark --test faults-long -- --nocapture --test-threads=1 \
	  --skip outage_of_five_minutes $(ONLY); one=$$?; \
	  case outage_of_five_minutes in *"$(ONLY)"*) $(SERVERS) run -- \
	    cargo test --release -p tidemark --test faults-long -- --nocapture outage_of_five_minutes;; esac; \
	  one=$$((one + $$?)); \
	  $(SERVERS) run -- $(TRIALS_BIN) elsewhere "$(ONLY)"; two=$$?; \
	  $(TRIALS_BIN) table && exit $$((one + two))

mutants: ## switches rules of the code off, one at a time: a test must notice (ONLY=fsync for less); writes docs/faults.md
	@scripts/install.sh test
	@cargo build -p tidemark-harness
	@$(SERVERS) run -- $(TRIALS_BIN) mutants "$(ONLY)"; done=$$?; $(TRIALS_BIN) table && exit $$done

# An input that fails is kept in tests/fuzz/corpus: mend the fault, keep the input.
fuzz: ## change the kept inputs at random for a while (SECONDS=600 for each kind)
	TIDEMARK_FUZZ_SECONDS=$(or $(SECONDS),600) cargo test -p tidemark --test fuzz -- --nocapture

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
