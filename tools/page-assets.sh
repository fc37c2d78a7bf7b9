#!/bin/sh
# Downloads the libraries that core/results/page embeds from npm and checks that they equal the committed ones. A new
# version also needs its licence in LICENSES.txt there.
set -e
cd "$(dirname "$0")/../core/results/page/assets"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for package in d3@7.9.2/d3.min.js @observablehq/plot@0.6.17/plot.umd.min.js; do
	file=${package##*/}
	(cd "$dir" && npm pack --silent "${package%/*}" >/dev/null && tar -xzf *.tgz && rm ./*.tgz)
	cp "$dir/package/dist/$file" "$file"
	rm -r "$dir/package"
done
sha256sum -c SHA256SUMS
