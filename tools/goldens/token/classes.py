"""Writes core/media/token/classes.json: the classes of characters that OpenCLIP's tokenizer tells apart.

    python3.13 -m venv /tmp/golden && /tmp/golden/bin/pip install regex==2026.11.19
    /tmp/golden/bin/python tools/goldens/token/classes.py

"letter", "number" and "space" are what [\\p{L}], [\\p{N}] and \\s match in regex under IGNORECASE, and
"none" what neither they nor [^\\s\\p{L}\\p{N}] match: such a character ends a word and is left out. "cased" and
"ignorable" decide which sigma str.lower() makes, of the Python that runs this. Each class is a flat list of
first and last code points. The version of the Unicode data is found by characters that it added.
"""
import json
import sys
import unicodedata

import regex

OTHER = regex.compile(r"[^\s\p{L}\p{N}]+", regex.IGNORECASE)
CLASSES = {"letter": r"[\p{L}]+", "number": r"[\p{N}]", "space": r"\s"}
CLASSES = {k: regex.compile(v, regex.IGNORECASE) for k, v in CLASSES.items()}


def name(ch):
    found = [k for k, p in CLASSES.items() if p.fullmatch(ch)] + (["other"] if OTHER.fullmatch(ch) else [])
    assert len(found) < 2
    return found[0] if found else "none"


ranges = {k: [] for k in ["letter", "number", "space", "none", "cased", "ignorable"]}


def add(kind, c):
    r = ranges[kind]
    if r and r[-1] == c - 1:
        r[-1] = c
    else:
        r.extend((c, c))


for c in range(0x110000):
    if 0xD800 <= c < 0xE000:
        continue
    ch = chr(c)
    if (kind := name(ch)) != "other":
        add(kind, c)
    if ("\x01" + ch + "Σ").lower()[-1] == "ς":
        add("cased", c)
    elif ("A" + ch + "Σ").lower()[-1] == "ς":
        add("ignorable", c)

with open("core/media/token/classes.json", "w") as f:
    json.dump({"regex": regex.__version__, "python": sys.version.split()[0], "unicode_of_python": unicodedata.unidata_version, **ranges},
              f, separators=(",", ":"))
    f.write("\n")
print({k: sum(b - a + 1 for a, b in zip(v[::2], v[1::2])) for k, v in ranges.items()})
