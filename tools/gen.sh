#!/bin/sh
# Regenerates core/plugin/wire/pb from tandem.proto. It needs protoc (Debian: protobuf-compiler) and, the first time, the
# network. The versions of the generators are pinned here. The result is committed.
set -eu
cd "$(dirname "$0")/.."
command -v protoc >/dev/null || { echo "tools/gen.sh: protoc is missing: apt install protobuf-compiler" >&2; exit 1; }
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin GOFLAGS= go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$bin GOFLAGS= go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
PATH=$bin:$PATH protoc -I core/plugin/wire/pb --go_out=core/plugin/wire/pb --go_opt=paths=source_relative \
    --go-grpc_out=core/plugin/wire/pb --go-grpc_opt=paths=source_relative core/plugin/wire/pb/tandem.proto
# The Python SDK makes its messages from this description, so that any version of protobuf will do.
protoc -I core/plugin/wire/pb --descriptor_set_out=core/plugin/sdk/python/tandem/tandem.binpb tandem.proto
# The version of this machine's protoc does not belong in the code.
sed -i '/^\/\/ .*protoc  *v/d; /^\/\/ - protoc  /d' core/plugin/wire/pb/*.pb.go
