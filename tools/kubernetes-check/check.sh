#!/bin/sh
# Holds a manifest of Jobs against the validation of Kubernetes' own API server, without a cluster:
#
#   runner submit SPEC --kubernetes … --dry-run | sh tools/kubernetes-check/check.sh
#
# It downloads k8s.io/kubernetes and what that needs as Go modules (about 300 MB) and builds for some minutes the first time. The tests hold manifests
# against the API's schema instead (core/experiment/kubernetes), which needs neither.
set -eu
version=1.36.3
here=$(cd "$(dirname "$0")" && pwd)
at=${XDG_CACHE_HOME:-$HOME/.cache}/tandem-kubernetes-check/$version
mkdir -p "$at"
cp "$here/check.go" "$at/check.go"
sed -i '/^\/\/go:build ignore$/d' "$at/check.go"
cd "$at"
if [ ! -f go.sum ]; then
  dir=$(cd / && go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  {
    echo "module kubernetes-check"
    echo "go 1.26.0"
    echo "require k8s.io/kubernetes v$version"
    # The modules that lie inside of Kubernetes' repository are published beside it.
    sed -n 's|^\t\(.*\) => ./staging/.*|replace \1 => \1 v0.'"${version#1.}"'|p' "$dir/go.mod"
  } > go.mod
  go mod tidy >&2
fi
go build -o check .
exec ./check
