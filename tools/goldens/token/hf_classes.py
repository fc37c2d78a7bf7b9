"""Writes core/media/token/hf/classes.json: the classes of characters that Hugging Face's tokenizers uses, as the library
itself shows them (tokenizers 0.23; some of its tables are of older versions of Unicode, some of newer ones than Go's).

    python tools/goldens/token/hf_classes.py
"""

import json

from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

POINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def bounds(points):
    out = []
    for c in points:
        if out and out[-1] == c - 1:
            out[-1] = c
        else:
            out += [c, c]
    return out


def bert(**on):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return N.BertNormalizer(**{**off, **on})


def removed(normalizer):
    return bounds(c for c in POINTS if normalizer.normalize_str(chr(c)) == "")


def isolated(pre):
    return bounds(c for c in POINTS if len(pre.pre_tokenize_str(f"a{chr(c)}a")) == 3)


words = P.Whitespace()
classes = {
    "control": removed(bert(clean_text=True)),
    "nonspacing": removed(bert(strip_accents=True)),
    "mark": removed(N.StripAccents()),
    "punctuation": isolated(P.Punctuation()),
    "numeric": isolated(P.Digits(individual_digits=True)),
    "decomposed": bounds(c for c in POINTS if N.NFKD().normalize_str(chr(c)) != chr(c)),
    "word": bounds(c for c in POINTS if [len(t) for t, _ in words.pre_tokenize_str(f"a{chr(c)}")] == [2]),
}
with open("core/media/token/hf/classes.json", "w") as f:
    json.dump(classes, f, separators=(",", ":"))
    f.write("\n")
