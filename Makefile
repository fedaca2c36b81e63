# `make` lists what there is.

SHELL := bash
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))

# What CronJob's own library makes of a thousand schedules.
CRONJOB_INSTANTS := set -o pipefail; go -C hack/cronjob-instants run .

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the operator against a real control plane and a simulated Upstash (ONCE=1: end by itself)
	@$(CARGO) build --workspace --bins --locked --quiet
	@$(CARGO_TARGET_DIR)/debug/testbed demo $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: ## Run every test; those with Upstash's SDKs where Node.js and Python are
	$(CARGO) build --workspace --bins --locked
	@# Before the tests: a build beside them would slow down those that watch the clock.
	@$(CARGO_TARGET_DIR)/debug/testbed build || true
	@# One more at a time than there are cores: most tests wait most of the time.
	@status=0; \
	  tests/sdk/run || status=1; \
	  tests/openapi/run || status=1; \
	  RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) + 1))} $(CARGO) test --workspace --locked --no-fail-fast -- $$(. tests/clients.sh && node_is_usable && echo --include-ignored) \
	    || status=1; \
	  tests/release/run || status=1; \
	  tests/bench/run || status=1; \
	  exit $$status

# What depends on Kubernetes, and the minors that are pinned: COMPAT=1.32 takes one of them.
COMPAT_TESTS := compatibility crd_rules columns conditions:: events:: examples leader_election main_job scheduling stored \
  chart::dist chart::objects chart::permissions chart::releases deployment::
COMPAT ?= $(patsubst v%,%,$(notdir $(wildcard hack/tools/compat/v*))) \
  $(shell sed -n 's/.*k8s.io.kubernetes v\(1\.[0-9]*\)\..*/\1/p' hack/tools/go.mod)
# As in .ci/run: nothing else is tested, and nothing skipped.
COMPAT_ENV := env -u KUBEBUILDER_ASSETS -u TESTBED_BIN_DIR -u UPDATE_GENERATED -u USE_EXISTING_CLUSTER \
  REQUIRE_GO=1 REQUIRE_IMAGE=1 REQUIRE_NODE=1 REQUIRE_PROMETHEUS=1 REQUIRE_SDK=1

.PHONY: compat
compat: ## Run what depends on Kubernetes on every minor that is pinned (builds each once, in about ten minutes)
	$(CARGO) build --workspace --bins --locked
	@status=0; for minor in $(COMPAT); do \
	  echo "Kubernetes $$minor"; \
	  $(COMPAT_ENV) KUBERNETES_MINOR=$$minor $(CARGO) test --locked --test integration -- $(COMPAT_TESTS) \
	    || status=1; \
	done; exit $$status

.PHONY: soak
# New random choices each time. A number that cannot be repeated would be of no use to anybody, so it is said first.
soak: SOAK_SEED := $(or $(SOAK_SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
soak: ## Let a day of 2,000 policies pass in a simulated world and an hour in a real one, kill the leader 200 times, and try many random cases (about two hours)
	@echo "To repeat the random choices of this soak: make soak SOAK_SEED=$(SOAK_SEED)"
	$(CARGO) build --release --workspace --bins --locked
	PROPTEST_RNG_SEED=$(SOAK_SEED) PROPTEST_CASES=20000 $(CARGO) test --workspace --locked --lib -- --test-threads=2 simulation_tests::
	SOAK_SEED=$(SOAK_SEED) SOAK_POLICIES=2000 $(CARGO) test --release --package dlq-policy --locked --lib -- --nocapture simulation_tests::day::
	TESTBED_BIN_DIR=$(CARGO_TARGET_DIR)/release API_SERVER_ABSENCE=120 SOAK_SEED=$(SOAK_SEED) SOAK_KILLS=200 SOAK_POLICIES=2000 \
	  SOAK_SECONDS=3600 MEMORY_POLICIES=10000 $(CARGO) test --locked --test integration -- --nocapture --test-threads=1 \
	  api_server_trouble::away kills:: memory:: soak::

# One that never ends is noticed too (3). Each is built and tested in a copy, with a target folder of its own.
.PHONY: mutants
mutants: ## See whether the core's unit tests notice each mutation of it (hours; SHARD=0/8: an eighth; needs cargo-mutants)
	@status=0; env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES=32 PROPTEST_MAX_SHRINK_ITERS=0 \
	  PROPTEST_RNG_SEED=20261120 SOAK_POLICIES=4 $(CARGO) mutants --package dlq-policy --no-shuffle --timeout 60 \
	  --output $(CARGO_TARGET_DIR) $(if $(SHARD),--shard $(SHARD)) || status=$$?; \
	  [ $$status = 0 ] || [ $$status = 3 ]

.PHONY: advisories
advisories: ## See whether any dependency has a known flaw (needs cargo-deny and the network)
	$(CARGO) deny --all-features check advisories

.PHONY: bench
bench: ## Measure the operator beside its peers (hours; BENCH="--phases B3,B5 --runs 1": some of it; needs Go)
	bench/run $(BENCH)

.PHONY: bench-simulator
bench-simulator: ## Say how many calls a second the simulator takes, with a million entries
	$(CARGO) bench --package dlq-simulator --bench throughput --locked

.PHONY: check
check: ## Run every check that runs nothing: format, lints, docs, dependencies, tables, the chart (needs cargo-deny and Go)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@# The core alone, as features that others turn on would hide what it misses.
	$(CARGO) clippy --package dlq-policy --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items --quiet
	$(CARGO) deny --all-features check bans licenses sources
	$(CRONJOB_INSTANTS) | diff -u tests/data/cronjob_instants.json -
	hack/kube-score/check

.PHONY: generate
generate: ## Write the generated files
	UPDATE_GENERATED=1 $(CARGO) test --locked --test integration -- \
	  generated_files gitops chart::files chart::readme columns conditions::every_state conditions::a_policy \
	  events::story::kubectl_describe
	UPDATE_GENERATED=1 $(CARGO) test --package kubectl-dlq --locked --lib -- golden_tests
	$(CRONJOB_INSTANTS) > tests/data/cronjob_instants.json
	$(MAKE) --no-print-directory dist

.PHONY: picture
picture: ## Draw the dashboard about a simulated day, in target/dashboard.svg (needs Prometheus and Python)
	REQUIRE_PROMETHEUS=1 $(CARGO) test --locked --lib -- day_tests

.PHONY: dist
dist: ## Write the plain manifests and the kustomize base (dist/) from the chart
	UPDATE_GENERATED=1 $(CARGO) test --locked --test integration -- chart::dist::the_committed

.PHONY: image
image: ## Build the images of operator and simulator into target/image and target/image-simulator, in the OCI layout (needs buildah)
	DLQ_OPERATOR_REVISION=$$(git rev-parse HEAD) $(CARGO) build --release --package dlq-operator --package dlq-simulator --bins --locked
	hack/image/build $(CARGO_TARGET_DIR)/release/dlq-operator $(CARGO_TARGET_DIR)/image
	hack/image/build $(CARGO_TARGET_DIR)/release/dlq-simulator $(CARGO_TARGET_DIR)/image-simulator

.PHONY: image-archives
image-archives: ## Write the images as archives that docker, kind and minikube load, into target/images (needs buildah or Docker)
	hack/image/archives $(CARGO_TARGET_DIR)/images

.PHONY: kind
kind: ## Install this checkout into the current kind or minikube cluster, with a simulated Upstash and a policy
	@hack/kind/run
	@$(MAKE) --no-print-directory image-archives
	@hack/kind/run $(CARGO_TARGET_DIR)/images

.PHONY: node
node: ## Run a cluster of one node without Docker, for kubectl and `make kind` (needs root)
	@$(CARGO) build --workspace --bins --locked --quiet
	@$(CARGO_TARGET_DIR)/debug/testbed node

.PHONY: release-dry-run
release-dry-run: ## Make everything of a release into target/release-dry-run (BINARY=FILE PLUGIN=FILE: of these binaries)
ifndef BINARY
	DLQ_OPERATOR_REVISION=$$(git rev-parse HEAD) $(CARGO) build --release --bin dlq-operator --locked
endif
ifndef PLUGIN
	$(CARGO) build --profile plugin --package kubectl-dlq --locked
endif
	hack/release/dry-run $(or $(BINARY),$(CARGO_TARGET_DIR)/release/dlq-operator) \
	  $(or $(PLUGIN),$(CARGO_TARGET_DIR)/plugin/kubectl-dlq) $(CARGO_TARGET_DIR)/release-dry-run

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: clean
clean: ## Remove everything that was built, the control plane too
	$(CARGO) clean
