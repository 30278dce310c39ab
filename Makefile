# Two commands for newcomers: `make up` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
BIN    := $(VENV)/bin
CODE   := operator local tests
LOCAL  := python3 -m local
PYTEST := $(BIN)/pytest -q
ALL_CORES := -n auto --dist loadfile --no-loadscope-reorder
# Where it is set to anything, each worker and each process that a test starts compiles all that it imports anew.
export PYTHONDONTWRITEBYTECODE :=
# A new clone need not look at everything anew: mypy knows files by their content.
export MYPY_CACHE_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/understudy/mypy
# The tests of the rooms that decide, as tests/conftest.py names them.
PURE = $(shell sed -n 's/^PURE = (\(.*\))$$/\1/p' tests/conftest.py | tr -d '",')
# Workers need not import thousands of tests that they will not run.
ON_CLUSTER = $(shell grep -rl --include='test_*.py' 'mark\.cluster' tests | sort)

##@ Try it
.PHONY: up down status
up: ## From a bare machine to a streamed answer of a real vLLM pod through the gateway
	$(LOCAL) up

down: ## Remove everything that `make up` made (caches stay; PURGE=1 removes them too)
	$(LOCAL) down $(if $(PURGE),--purge)

status: ## What is running: Docker, cluster, images
	$(LOCAL) status

##@ Test
.PHONY: test test-fast test-pure test-rest test-cluster test-together test-alone test-registry for-cluster
# The scenarios on the cluster come one set after the other; those that need it to themselves wait more than they compute.
# Meanwhile everything without a cluster is tested, at a low priority for the sake of their deadlines. Their output is
# shown when the other is through.
test: $(VENV)/ready for-cluster ## Everything, from a clean checkout: checks, tests with and without a real cluster
	@shown=$$(mktemp); cluster=; trap 'kill -INT -- -$$cluster 2>/dev/null && { wait $$cluster || true; cat $$shown; }; rm -f $$shown' EXIT; \
	echo "▸ scenarios on the cluster: begun, their output follows"; \
	set -m; $(MAKE) --no-print-directory test-alone test-together > $$shown 2>&1 < /dev/null & cluster=$$!; set +m; \
	nice -n 10 $(MAKE) --no-print-directory verify test-pure test-rest; \
	echo "▸ scenarios on the cluster:"; \
	tail -n +1 -s 0.5 --follow --pid=$$cluster $$shown; wait $$cluster; cluster=

test-fast: $(VENV)/ready ## The daily loop: what needs no cluster and little time, on all cores
	$(PYTEST) -m "not cluster and not slow" $(ALL_CORES)

test-pure: $(VENV)/ready ## Of that, the rooms that decide: their tests must reach every branch
	$(PYTEST) $(PURE) -m "not cluster and not slow" $(ALL_CORES) --cov --cov-report=term --cov-fail-under=100

test-rest: $(VENV)/ready ## Everything else without a cluster: random histories, small worlds searched whole, rules taken out
	$(PYTEST) -m "not cluster and (slow or not pure)" $(ALL_CORES)

test-cluster: for-cluster ## Behaviour on a real kind cluster with real vLLM pods
	$(MAKE) --no-print-directory test-together test-alone

test-together: $(VENV)/ready ## Of that, the scenarios that share the cluster
	$(PYTEST) $(ON_CLUSTER) -m "cluster and not alone" -n 4 --dist loadgroup --no-loadscope-reorder --durations=15

test-alone: $(VENV)/ready ## Of that, the scenarios that need the cluster to themselves, because they break something
	$(PYTEST) $(ON_CLUSTER) -m "cluster and alone and not (proof or registry)" --durations=15

test-registry: $(VENV)/ready images ## The way with a registry, with a real one on this machine (ten minutes; makes the cluster anew)
	$(PYTEST) -s tests/local/test_registry_way.py

for-cluster: $(VENV)/ready images
	$(LOCAL) tools --for-tests
	$(LOCAL) argocd
	$(BIN)/python -m tests.e2e

.PHONY: fuzz
fuzz: $(VENV)/ready ## Breed inputs that break readers and guardrails, a minute for each (FUZZ="--seconds 600 --target head")
	$(BIN)/python -m bench.fuzz $(FUZZ)

.PHONY: proof
proof: $(VENV)/ready ## Prove the rollout machine anew, some hours, real cluster included (PROOF="--parts histories": docs/proof.md)
	$(BIN)/python bench/proof.py $(PROOF)

.PHONY: bench-operator
bench-operator: $(VENV)/ready ## Measure the operator over thousands of deployments (BENCH=--help)
	$(BIN)/python -m bench.control_plane --out docs/benchmarks/operator.md $(BENCH)

.PHONY: bench-gateway
bench-gateway: $(VENV)/ready ## Measure the gateway beside its peers (BENCH=--quick: minutes; docs/benchmarks/gateway.md)
	$(BIN)/python -m bench.gateway $(BENCH)

##@ Check
.PHONY: verify lint fmt types imports security mutation generate check-generated release-check
verify: $(VENV)/ready ## Every static check; nothing may differ from what is generated
	$(MAKE) --no-print-directory --jobs=2 --output-sync lint types imports security check-generated

lint: $(VENV)/ready ## Style and likely mistakes (ruff)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

fmt: $(VENV)/ready ## Format and fix what can be fixed
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: $(VENV)/ready ## Strict types on code and tests (mypy)
	$(BIN)/mypy $(CODE)

imports: $(VENV)/ready ## Rooms import only downward (import-linter)
	$(BIN)/lint-imports

security: $(VENV)/ready ## Security lint (bandit)
	$(BIN)/bandit -q -r operator local -c pyproject.toml

mutation: $(VENV)/ready ## Small changes of the deciding modules that this branch changes: a test must notice (90 seconds)
	$(BIN)/python -m bench.mutation --changed --seconds 90

release-check: $(VENV)/ready ## Fail when plan/ or domain/ changed since the committed proof, or it lacks something
	$(BIN)/python bench/release_check.py

generate: $(VENV)/ready ## Write CRDs, chart copies, reference docs, values schema, RBAC from the models
	$(BIN)/python -m understudy.crdgen

check-generated: $(VENV)/ready ## Fail when a generated file differs from its source
	$(BIN)/python -m understudy.crdgen --check

##@ Cluster
.PHONY: cluster images
cluster: ## Bring up the kind cluster (from a registry, or assembled from packages)
	$(LOCAL) cluster

images: cluster ## Build and load the images
	$(LOCAL) images

##@ Develop
.PHONY: install lock help
install: $(VENV)/ready ## Create the virtual environment

$(VENV)/ready: requirements/dev.txt pyproject.toml
	python3 -c 'import ensurepip' 2>/dev/null || $(LOCAL) tools
	test -x $(BIN)/python || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

lock: $(VENV)/ready ## Pin requirements/*.in again, with hashes
	for f in runtime dev sdks fuzz; do $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
	  --python-version 3.11 requirements/$$f.in -o requirements/$$f.txt; done

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
