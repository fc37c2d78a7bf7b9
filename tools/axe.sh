#!/bin/sh
# Fetches axe-core (Deque, MPL 2.0), with which tests audit the live pages for accessibility. It is not part of tandem: tests inject it
# into the browser, and nothing is built with it. It comes from npm's registry and is checked before it is put in place.
#
#   axe.sh [FOLDER]     ~/.local/share/tandem/axe if left out
set -e
folder=${1:-$HOME/.local/share/tandem/axe}
version=4.14.1
want=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
sum() { sha256sum "$1" 2>/dev/null | cut -d' ' -f1; }

if [ "$(sum "$folder/axe.min.js")" = "$want" ]; then
	echo "axe-core is in $folder"
	exit
fi
mkdir -p "$folder"
new=$(mktemp -d "$folder/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
if command -v npm >/dev/null; then
	(cd "$new" && npm pack --silent "axe-core@$version" >/dev/null)
elif command -v curl >/dev/null; then
	curl -fsSL -o "$new/axe.tgz" "https://registry.npmjs.org/axe-core/-/axe-core-$version.tgz"
else
	echo "axe.sh: npm or curl is needed: apt-get install npm, or apt-get install curl" >&2
	exit 1
fi
tar -xzf "$new"/*.tgz -C "$new"
got=$(sum "$new/package/axe.min.js")
[ "$got" = "$want" ] || { echo "axe.sh: axe.min.js has the sha256 $got, not $want" >&2; exit 1; }
mv "$new/package/axe.min.js" "$folder/axe.min.js"
echo "axe-core is in $folder"
