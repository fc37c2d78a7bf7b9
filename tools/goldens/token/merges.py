"""Writes core/media/token/merges.txt.gz: the heading and the merges in use of the vocabulary that open_clip carries."""

import gzip
import os

import open_clip

USED = 48894
source = os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz")
lines = gzip.open(source).read().decode().split("\n")[: 1 + USED]
with open("core/media/token/merges.txt.gz", "wb") as f:
    f.write(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
