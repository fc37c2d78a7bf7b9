"""Writes core/media/token/ftfy/clues.json: what ftfy takes for signs of mojibake, as regular expressions for RE2.

    python -m venv /tmp/golden && /tmp/golden/bin/pip install ftfy==6.3.1
    /tmp/golden/bin/python tools/goldens/token/clues.py

The character lists are those of ftfy 6.3.1 (Robyn Speer, Apache License 2.0; see THIRD_PARTY.md), read
from the installed package and written in another syntax: Python's \\w and \\s are spelt out, since RE2
knows only their ASCII part.
"""
import json
import re
from re import _constants as c, _parser as parser

from ftfy import badness, chardata

WORD = r"\p{L}\p{N}_"
SPACE = r"\t-\r\x1c-\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"


def char(n):
    return chr(n) if chr(n).isalnum() and n < 128 else f"\\x{{{n:x}}}"


def member(op, v):
    return {
        c.LITERAL: lambda: char(v),
        c.RANGE: lambda: char(v[0]) + "-" + char(v[1]),
        c.NEGATE: lambda: "^",
        c.CATEGORY: lambda: {c.CATEGORY_WORD: WORD, c.CATEGORY_SPACE: SPACE}[v],
    }[op]()


def one(op, v):
    if op is c.LITERAL:
        return char(v)
    if op is c.ANY:
        return "."
    if op is c.AT and v is c.AT_BEGINNING:
        return "^"
    if op is c.IN:
        return "[" + "".join(member(*m) for m in v) + "]"
    if op is c.BRANCH:
        return "(?:" + "|".join(map(write, v[1])) + ")"
    if op is c.MAX_REPEAT and v[:2] == (0, 1):
        return write(v[2]) + "?"
    raise SystemExit(f"cannot write {op} {v}")


def write(tree):
    return "".join(one(op, v) for op, v in tree)


clues = {"badness": write(parser.parse(badness.BADNESS_RE.pattern, re.VERBOSE))}
for name, members in chardata.UTF8_CLUES.items():
    clues[name] = write(parser.parse(f"[{members}]"))
json.dump(clues, open("core/media/token/ftfy/clues.json", "w"), indent=1)
