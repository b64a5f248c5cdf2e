# build, demo and test need only Go, git and make. Targets that need more say so.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s
FUZZ     ?= ^Fuzz

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := bin/tools/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: build demo test load lint tools fuzz soak crashes bench accept accept-release engines images dist clean

CLI      := github.com/ingest-connectors/whoop-iceberg/protocol/cli
LDFLAGS   = -X $(CLI).Version=$(VERSION) -X $(CLI).Commit=$(shell git rev-parse HEAD 2>/dev/null) \
            -X $(CLI).Date=$(shell git log -1 --format=%cs 2>/dev/null)

# minicore_disabled leaves out a native library of Snowflake's driver. With cgo, a program that has it takes some 35 MiB
# more. grpcnotrace leaves out pages for debugging, whose templates would keep all methods of all libraries.
build:
	go build -tags minicore_disabled,grpcnotrace -ldflags '$(LDFLAGS)' -o bin/ ./source ./destination

# Reads a sandboxed WHOOP member into Iceberg tables in ./lake, then the changes of one more day. DEMO=lakehouse has
# the tables in an object store with a REST catalog; it needs Python 3.11.
DEMO ?= local

demo: build
	@if [ $(DEMO) = lakehouse ]; then acceptance/engines/install.sh lakehouse && go build -o bin/ ./acceptance/lakehouse; fi
	@DEMO=$(DEMO) acceptance/demo.sh

# Large tests run few of their cases here, and all of them with FULL_TESTS=1, as in accept.
# The race detector needs a C compiler; without one the tests run without it. It waits
# for a second at the end of each process, unless told otherwise. GOGC is high because
# the heaps of tests are small: they would be collected all the time. Some tests wait, so
# there are more at once than two cores need. Tests make very many small files: they are in
# memory, where it is large enough, and programs are not.
MEMORY  := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 2e6 { print "/dev/shm" }')
GO_TEST := go test -vet=off -tags minicore_disabled,grpcnotrace

# SQLite is translated from C. Its memory is not Go's, and the race detector would look at each
# access for nothing. The driver and all other packages are instrumented.
WITHOUT_RACE := $(foreach package,modernc.org/sqlite/lib modernc.org/libc,-gcflags=$(package)=-race=false)

test: export GOGC = 400
test: export GORACE = atexit_sleep_ms=10
test: export GOTMPDIR := $(or $(GOTMPDIR),$(TMPDIR),/tmp)
test: export TMPDIR := $(or $(MEMORY),$(TMPDIR),/tmp)
test:
	go vet ./...
	go vet -tags acceptance ./acceptance/...
	@if command -v "$$(go env CC)" >/dev/null; then \
	  echo 'CGO_ENABLED=1 $(GO_TEST) -race $(WITHOUT_RACE) -parallel 4 -timeout 30m ./...'; CGO_ENABLED=1 $(GO_TEST) -race $(WITHOUT_RACE) -parallel 4 -timeout 30m ./...; \
	else \
	  echo "no C compiler ($$(go env CC)): testing without -race"; $(GO_TEST) ./...; \
	fi

# No test may depend on how busy the machine is: runs all of them RUNS times beside LOAD
# busy processes, which takes two hours on two cores.
RUNS ?= 20
LOAD ?= 8

load:
	@busy=; trap 'kill $$busy' EXIT; for n in $$(seq $(LOAD)); do (while :; do :; done) & busy="$$busy $$!"; done; \
	for n in $$(seq $(RUNS)); do echo "run $$n"; $(GO_TEST) -count=1 -timeout 1h ./... || exit 1; done

# Also checks the types of both programs on all platforms of a release.
lint: $(GOLANGCI)
	$(GOLANGCI) run
	go mod tidy -diff
	go run ./internal/dist check

tools: $(GOLANGCI)

$(GOLANGCI):
	@echo 'installing golangci-lint $(GOLANGCI_VERSION) into bin/tools: a few minutes, once'
	GOBIN=$(CURDIR)/bin/tools/new go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/tools/new/golangci-lint $@

# Runs every fuzz target that FUZZ matches for FUZZTIME; go test runs one at a time. One
# that tried fewer than FUZZMIN inputs, old or new, fails: it did something else in that
# time. Go before 1.27 now and then takes the end of that time for a failure, which has
# no input and one line (golang/go#75804).
# HISTORIES=10000 also compares that many random histories of a stream, and a tenth as many of a source, with a model.
HISTORIES ?= 0
FUZZMIN   ?= 10

fuzz:
	@set -e; for found in $$(grep -roE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' --exclude-dir=.cache . | sed 's|/[^/]*:func |=|' | sort); do \
	  package=$${found%=*} target=$${found#*=}; \
	  echo "$$target" | grep -qE '$(FUZZ)' || continue; \
	  echo "go test -fuzz '^$$target\$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package"; \
	  { go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package 2>&1 || echo "exit code $$?"; } | \
	    awk -v min=$(FUZZMIN) ' \
	      sub(/^exit code /, "") { code = $$0; next } \
	      { print; fflush() } \
	      /^--- FAIL: / { failures++; getline; print; fflush(); if ($$0 == "    context deadline exceeded") ended++ } \
	      match($$0, /(execs|baseline coverage): [0-9]+/) { split(substr($$0, RSTART, RLENGTH), part, ": "); inputs = part[2] + 0 } \
	      END { if (code && !(failures == 1 && ended == 1)) exit code; if (inputs < min) { print "only " inputs + 0 " inputs were tried, fewer than " min; exit 1 } }'; \
	done; \
	if [ $(HISTORIES) -gt 0 ]; then \
	  go test -run '^TestHistories$$' -count=1 -timeout 5h ./destination -histories $(HISTORIES); \
	  go test -run '^TestASourceContinuesWhereItsTablesEnd$$' -count=1 -timeout 5h ./destination/internal/syncer -histories $$(($(HISTORIES) / 10)); \
	fi

# Syncs one member every 15 minutes for two virtual years, with every fault there is:
# about a quarter of an hour; SOAK_DAYS and SOAK_SEED change it. Then runs 10,000
# syncs of one table to see what it grows to, and 10,000 to see how long the last
# ones take: a quarter of an hour each.
SOAK_DAYS ?= 730
SOAK_SEED ?= 1
SOAK_SYNCS ?= 10000

soak:
	go test -run '^TestSoak$$' -count=1 -timeout 2h -v ./source -soak.days $(SOAK_DAYS) -soak.seed $(SOAK_SEED)
	go test -run '^TestATableStaysSmallForYears$$' -count=1 -timeout 3h -v ./destination/internal/maintenance -syncs $(SOAK_SYNCS)
	go test -run '^TestASyncIsAsFastAfterYears$$' -count=1 -timeout 3h -v ./destination -syncs $(SOAK_SYNCS) -timed 50

# Kills 200 processes at random points, makes every call of the catalog, the file
# system and S3 fail in every way, cuts every request of syncs into Nessie and Glue, runs
# eight processes that write one table at once, and runs maintenance in 400 surroundings:
# an hour and a half. Needs Python 3.11 and PostgreSQL.
crashes: export GOGC = 400
crashes: engines
	ACCEPTANCE_KILLS=200 go test -run 'Killed|Terminated|Signals|FullDisk|MayNotGrow|LeftOpen' -count=1 -timeout 2h -tags acceptance -v ./acceptance
	go test -run '^TestAnyCallMayFail$$' -parallel 8 -count=1 -timeout 3h -v ./destination -faults 0
	ACCEPTANCE_CUTS=0 go test -run '^TestARequestIsCut$$' -count=1 -timeout 2h -tags acceptance -v ./acceptance
	ACCEPTANCE_COMMITS=100 go test -run '^TestEightWritersOfOneTable$$' -count=1 -timeout 1h -tags acceptance -v ./acceptance
	go test -run '^TestMaintenanceInAnySurroundings$$' -count=1 -timeout 1h ./destination/internal/maintenance -surroundings 400

# Measures the requests of a sync of the source, the peak memory of the destination,
# its rows per second, onto local files and onto S3, beside DuckDB's COPY of the same
# file, and upserts beside appends, and both beside PyIceberg and dlt. Needs Python 3.11.
bench: build engines
	go run ./acceptance/bench/source
	go run ./acceptance/bench/memory
	go run ./acceptance/bench
	go run ./acceptance/bench/upsert
	acceptance/engines/install.sh bench
	go run ./acceptance/bench/others

# Runs every case of the large tests, and the whole-system tests: the pipe, crashes,
# containers, other engines. Many of these wait for one process of another language, so three run at a time. Needs Python 3.11, and podman or docker.
accept: export GOGC = 400
accept: build engines images
	FULL_TESTS=1 go test -vet=off -count=1 -timeout 30m $$(go list -test -f '{{.ImportPath}} {{.Deps}}' ./... | sed -n 's|\.test .*/internal/testsize[] ].*||p')
	CONTAINER_ENGINE=$$(acceptance/images/engine.sh) go test -count=1 -timeout 60m -parallel 3 -tags acceptance -skip '$(OF_A_RELEASE)' ./acceptance/...

# The tests of archives, and of the programs for Windows, for which everything is compiled again. Needs Wine.
OF_A_RELEASE := ^TestARelease|UnderWine$$

accept-release:
	go test -count=1 -timeout 1h -tags acceptance -run '$(OF_A_RELEASE)' -v ./acceptance

engines:
	acceptance/engines/install.sh

# Builds source-whoop and destination-iceberg with podman or docker.
images:
	acceptance/images/build.sh $(VERSION)

# Archives of both programs for Linux, macOS and Windows in ./dist, with bills of materials and licences, and
# SHA256SUMS. PLATFORMS="linux/arm64 darwin/arm64" makes some of them.
PLATFORMS ?=

dist:
	rm -rf dist
	go run ./internal/dist -version '$(VERSION)' -commit '$(shell git rev-parse HEAD 2>/dev/null)' \
	  -time '$(shell git log -1 --format=%cI 2>/dev/null)' archives dist $(PLATFORMS)

clean:
	rm -rf bin lake dist .cache
