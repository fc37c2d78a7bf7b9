# tandem: `make help` lists the targets.
GO      ?= go
CGO_ENABLED = 1
export CGO_ENABLED

# oneDNN is optional: with its header and library the fast CPU backend is built in.
ONEDNN  := $(shell printf '\043include <dnnl.h>\nint main(void){return dnnl_version()==0;}' | $(or $(CC),cc) -x c - -ldnnl -o /dev/null 2>/dev/null && echo onednn)
TAGS    ?= $(ONEDNN)
GOFLAGS_BUILD = $(if $(TAGS),-tags $(TAGS))

PLUGINS := $(patsubst plugins/%/main.go,%,$(wildcard plugins/*/*/main.go))

.DEFAULT_GOAL := help
.PHONY: help build plugins test test-long race lint gen bench demo clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: plugins ## build bin/runner and every plugin
	$(GO) build $(GOFLAGS_BUILD) -o bin/runner ./cmd/runner

plugins: ## build bin/plugins/<kind>/<name>
	@for p in $(PLUGINS); do mkdir -p bin/plugins/$$(dirname $$p); done
	@$(if $(PLUGINS),set -e; for p in $(PLUGINS); do $(GO) build $(GOFLAGS_BUILD) -o bin/plugins/$$p ./plugins/$$p; done)

clean: ## remove build outputs (not results)
	rm -rf bin
