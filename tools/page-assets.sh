#!/bin/sh
# Downloads the libraries that core/results/page and core/results/web embed from npm and checks that they equal the committed
# ones. A new version also needs its licence in LICENSES.txt beside it.
set -e
root=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fetch() { # PACKAGE FILE FOLDER
	(cd "$dir" && npm pack --silent "$1" >/dev/null && tar -xzf ./*.tgz && rm ./*.tgz)
	cp "$dir/package/dist/$2" "$root/core/results/$3/assets/$2"
	rm -r "$dir/package"
}
fetch d3@7.9.2 d3.min.js page
fetch @observablehq/plot@0.6.17 plot.umd.min.js page
fetch idiomorph@0.8.0 idiomorph.min.js web
fetch uplot@1.6.32 uPlot.iife.min.js web
fetch uplot@1.6.32 uPlot.min.css web
for folder in page web; do
	(cd "$root/core/results/$folder/assets" && sha256sum -c SHA256SUMS)
done
