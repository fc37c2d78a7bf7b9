"""Writes core/media/token/testdata/{merges.txt,clip.json}: what OpenCLIP's tokenizer gives for some texts.

Run from the repository's root, in a throw-away environment:

    python -m venv /tmp/golden
    /tmp/golden/bin/pip install ftfy==6.3.1 regex numpy
    /tmp/golden/bin/pip download --no-deps -d /tmp/golden open_clip_torch==3.3.0
    /tmp/golden/bin/python -m zipfile -e /tmp/golden/open_clip_torch-3.3.0-*.whl /tmp/golden/wheel
    /tmp/golden/bin/python tools/goldens/token/generate.py /tmp/golden/wheel/open_clip

The tokenizer imports torch for its result tensor only, so that an empty module stands in for it.
merges.txt is the first 2000 lines of bpe_simple_vocab_16e6.txt (MIT, Copyright (c) 2021 OpenAI); the
whole file is read for the ids under "full", which tests compare with the merges that core/media/token carries.
"""

import gzip
import importlib.util
import json
import pathlib
import sys
import types

from texts import TEXTS


def load(folder):
    torch = types.ModuleType("torch")
    torch.Tensor = torch.LongTensor = object
    sys.modules["torch"] = torch
    spec = importlib.util.spec_from_file_location("tokenizer", folder / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTEXT = 77


def row(tokenizer, text):
    """The ids, as OpenCLIP's __call__ cuts them when they are many."""
    ids = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
    return ids if len(ids) <= 4 * CONTEXT else ids[: CONTEXT - 1] + ids[-1:]


def short(name, text):
    """A long text as what it repeats, and its tail: "unit" × "times" + rest."""
    for n in range(1, len(text) // 100):
        unit, times = text[:n], len(text) // n
        if text[: n * times] == unit * times:
            return {name: text[n * times :], name + "_unit": unit, name + "_times": times}
    return {name: text}


def main():
    folder = pathlib.Path(sys.argv[1])
    out = pathlib.Path("core/media/token/testdata")
    module = load(folder)
    lines = gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    cut = "\n".join(lines[:2000]) + "\n"
    (out / "merges.txt").write_text(cut)
    with gzip.open("/tmp/golden-merges.gz", "wt") as f:
        f.write(cut.rstrip("\n"))
    small = module.SimpleTokenizer("/tmp/golden-merges.gz")
    full = module.SimpleTokenizer(str(folder / "bpe_simple_vocab_16e6.txt.gz"))
    golden = [
        {**short("text", t), **short("clean", module._clean_lower(t)), "ids": row(small, t), "full": row(full, t)}
        for t in TEXTS
    ]
    entries = ",\n".join(json.dumps(g, ensure_ascii=True) for g in golden)
    (out / "clip.json").write_text("[\n" + entries + "\n]\n")
    print(len(TEXTS), "texts,", small.vocab_size, "and", full.vocab_size, "ids")


if __name__ == "__main__":
    main()
