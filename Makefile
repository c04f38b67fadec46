# Each target installs what it needs (see scripts/setup) and says which packages; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench fuzz crash

# The whole test suite kills Headwater at named points, which only this feature compiles in.
FEATURES := --features headwater/failpoints
# One integration-test module or test by name: make test T=redis
T ?=
# Kills of `make crash`, and seconds for each target of `make fuzz`.
KILLS ?= 1000
FUZZ_SECONDS ?= 600

help: ## lists the targets
	@sed -n 's/^\([a-z]*\):[^#]*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: ## a shop on MariaDB, kept in step in Redis before your eyes (DEMO_SECONDS=20: unattended)
	@scripts/setup demo
	@examples/shop-demo/run

test: ## every test, against real servers of its own (T=name: only those whose name contains it)
	@scripts/setup test
	cargo test --workspace $(FEATURES) -- $(T)

check: ## formatting, lints, and the licences, sources and advisories of the dependencies
	@scripts/setup check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(FEATURES) -- -D warnings
	cargo deny --workspace check bans licenses sources
	@scripts/check-advisories

bench: ## the benchmarks, as ratios to a limit measured in the same run (see bench/)
	@scripts/setup bench
	cargo build --release -p headwater
	cargo run --release -p headwater-bench

crash: ## the long crash tests: KILLS=1000, a killed snapshot of 2,000,000 rows, power failures
	@scripts/setup test
	HEADWATER_CRASH_KILLS=$(KILLS) HEADWATER_SNAPSHOT_ROWS=2000000 HEADWATER_LAGGARD_ROWS=1000000 \
	  cargo test --release -p headwater $(FEATURES) --test it -- crash:: laggards:: power:: --nocapture --test-threads=1

fuzz: ## every fuzz target for FUZZ_SECONDS=600 (needs a nightly toolchain)
	@scripts/setup fuzz
	@for target in $$(cargo +nightly fuzz list); do \
	  echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  mkdir -p fuzz/corpus/$$target; \
	  cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 || exit 1; \
	done
