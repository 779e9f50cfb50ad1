# Short names for what is typed often. `make` alone lists them.
# Everything here is one command of the Go tool, or a script in .ci.

.DEFAULT_GOAL := help
.PHONY: help build test race lint vuln fmt fuzz fuzzall bench bench-peer bench-ratios interop demo docs image sbom sign e2e ci clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the three programs, in bin
	go build -o bin/ ./cmd/...

test: ## all tests; they need nothing but Go
	go test ./...

race: ## all tests with the race detector
	go test -race ./...

lint: ## what .golangci.yml asks for
	"$$(.ci/tools golangci-lint)" run

vuln: ## known vulnerabilities of what the programs call (asks vuln.go.dev)
	"$$(.ci/tools govulncheck)" ./...

fmt: ## format, imports in order
	"$$(.ci/tools golangci-lint)" fmt

fuzz: ## one fuzz target: make fuzz PKG=./pkg/wire TARGET=FuzzDecodeMessage TIME=1m
	go test -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime $(TIME) $(PKG)

fuzzall: ## every fuzz target for TIME, one after the other
	.ci/fuzz $(TIME)

bench: ## every scenario with a million operations; about ten minutes
	go run ./cmd/proofsync bench

bench-peer: ## cold syncs beside those of commonware-sync (the first time builds it, with cargo)
	test/bench/peer

bench-ratios: ## has something become several times as dear as what it rests on?
	PROOFSYNC_RATIOS=1 go test -count=1 -timeout 6m -v ./test/ratio

interop: ## our programs with those of commonware-sync (the first time builds them, with cargo)
	dir="$$(.ci/tools commonware-sync)" && COMMONWARE_SYNC_BIN="$$dir" go test -count=1 -v ./test/interop

demo: ## a server, two replicas, and a lie that is refused
	go run ./cmd/proofsync demo

docs: ## the pages that are generated from the code: docs/CONFIG.md, docs/METRICS.md
	go test ./pkg/config ./pkg/app -update

image: ## the container image of this commit: make image IMAGE=registry.example.org/proofsync:v1
	docker build -t $(IMAGE) \
		--build-arg VERSION="$$(git describe --tags --always --dirty)" \
		--build-arg COMMIT="$$(git rev-parse HEAD)" \
		--build-arg CREATED="$$(git show -s --format=%cI)" \
		--build-arg SOURCE_DATE_EPOCH="$$(git show -s --format=%ct)" .

sbom: ## what the image is made of, in bin/sbom.spdx.json (needs syft); IMAGE may be docker-archive:FILE
	@mkdir -p bin
	syft scan $(IMAGE) -o spdx-json=bin/sbom.spdx.json

sign: ## sign the image in its registry and attest the sbom (needs cosign): make sign IMAGE=NAME@sha256:DIGEST
	cosign sign $(IMAGE)
	cosign attest --type spdxjson --predicate bin/sbom.spdx.json $(IMAGE)

e2e: ## install, test, break, upgrade and remove IMAGE on the cluster of KUBECONFIG
	deploy/e2e -i $(IMAGE)

ci: ## everything a change has to pass
	.ci/run

clean: ## remove bin
	rm -rf bin

PKG ?= ./pkg/wire
TARGET ?= FuzzDecodeMessage
TIME ?= 30s
IMAGE ?= proofsync:dev
