#!/usr/bin/env python3
"""Compares encoders/bert with transformers on a published model: the token ids and the normalised mean of the last hidden states
of 1,000 texts. They are captions of openclipart-svg, where it is installed, and unusual ones: empty, very long, of every script, of
random code points.

Usage, at the root of the repository: bert-check.py FOLDER             (make minilm fetches a model)
                                      bert-check.py export RUN [DB]    exports the text tower of a run and compares what AutoModel makes of
                                                                       it with runner embed

Needs torch and transformers, for which make python makes an environment: .venv/python/bin/python tools/bert-check.py FOLDER
"""
import glob
import html
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModel, AutoTokenizer

COUNT, CONTEXT, CONTEXT_OF_RUN = 1000, 128, 32  # the last is text-tower.yaml's
UNUSUAL = ["", " ", "\n\t", "a", "A CAT", "ﬁne ﬂour", "naïve café", "Zürich–Genève", "日本語のテキスト", "中文字符 and English", "привет, мир", "שלום עולם",
           "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷", "e\u0301 and \u00e9", "\u200bzero\u200dwidth", "tab\tand\nnewline", "[CLS] [SEP] [MASK] [PAD]",
           "<s> </s> <pad> <mask>", "don't won't can't", "3.14159 1,000,000 1e-5", "C++ & C# @home #tag", "http://example.com/a?b=c&d=e", "…—“quotes”‘single’",
           "x" * 150, "antidisestablishmentarianism " * 60, "word " * 5000, "。" * 300, "\u0000null", "\ufffdreplacement", "ǅ ß ẞ İ ı", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "①②③ ½ ⅓", "한국어 텍스트"]


def captions():
    """Titles and keywords of the drawings of Debian's openclipart-svg."""
    found = {}
    for file in sorted(glob.glob("/usr/share/openclipart/svg/**/*.svg", recursive=True)):
        with open(file, errors="replace") as f:
            text = f.read(1 << 16)
        title, keywords = re.search(r"<dc:title>([^<]+)</dc:title>", text), re.findall(r"<rdf:li>([^<]+)</rdf:li>", text)
        if title:
            found[html.unescape(", ".join([title[1], *keywords]))] = True
    return list(found)


def invented(r):
    ranges = [(0x20, 0x7F), (0xA0, 0x24F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0x2000, 0x2BFF), (0x3040, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF)]
    text = ""
    for _ in range(r.randint(1, 60)):
        low, high = r.choice(ranges)
        text += chr(r.randint(low, high)) if r.random() < 0.7 else r.choice([" ", " a ", ", ", "the "])
    return text


def main(folder):
    r = random.Random(0)
    texts = captions()
    r.shuffle(texts)
    texts = UNUSUAL + texts[: COUNT - len(UNUSUAL) - 100]
    print(f"{len(texts) - len(UNUSUAL)} captions, {len(UNUSUAL)} unusual texts, {COUNT - len(texts)} of random code points")
    texts += [invented(r) for _ in range(COUNT - len(texts))]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()
    ids, mean = [], []
    with torch.no_grad():
        for at in range(0, COUNT, 20):
            x = tokenizer(texts[at : at + 20], padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
            mask = x["attention_mask"]
            states = model(**x).last_hidden_state * mask[..., None]
            mean += torch.nn.functional.normalize(states.sum(1) / mask.sum(1, keepdim=True), dim=-1).tolist()
            ids += [row[m.bool()].tolist() for row, m in zip(x["input_ids"], mask)]
    with tempfile.TemporaryDirectory() as dir:
        file = os.path.join(dir, "want.json")
        json.dump({"folder": os.path.abspath(folder), "context_length": CONTEXT, "width": model.config.hidden_size, "texts": texts, "ids": ids, "mean": mean}, open(file, "w"))
        go = ["go", "test", "-tags", os.environ.get("TAGS", "onednn,libjpeg"), "-count", "1", "-v", "-run", "TestEqualsTransformersOnRealWeights", "./plugins/encoders/bert"]
        return subprocess.run(go, env={**os.environ, "TANDEM_BERT_CHECK": file}).returncode


def export(run, db=None):
    """The features of a run's text tower by bin/runner and by AutoModel on what the runner exports; the mean of the tokens."""
    from safetensors.torch import load_file

    texts = [t for t in UNUSUAL if t.strip() and "\n" not in t and "\0" not in t] + captions()[:200]
    with tempfile.TemporaryDirectory() as dir:
        lines, weights, features = (os.path.join(dir, n) for n in ("texts.txt", "model/model.safetensors", "features.safetensors"))
        with open(lines, "w") as f:
            f.write("\n".join(texts) + "\n")
        where = ["--db", db, "--runs-dir", os.path.join(os.path.dirname(db), "runs")] if db else []
        subprocess.run(["bin/runner", "export", run, "--format", "hf", "-o", weights, *where], check=True)
        subprocess.run(["bin/runner", "embed", "--run", run, "--texts", lines, "--out", features, *where], check=True)
        folder, want = os.path.dirname(weights), load_file(features)["text_features"]
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        projection, cosines = load_file(weights).get("proj.weight"), []
        with open(features, "rb") as f:  # the runner strips the lines
            kept = json.loads(json.loads(f.read(int.from_bytes(f.read(8), "little")))["__metadata__"]["texts"])
        with torch.no_grad():
            for text, w in zip(kept, want):
                x = model(**tokenizer(text, truncation=True, max_length=CONTEXT_OF_RUN, return_tensors="pt")).last_hidden_state[0].mean(0)
                cosines.append(float(torch.nn.functional.cosine_similarity(x if projection is None else projection @ x, w, dim=0)))
    print(f"{len(cosines)} texts, cosine at least {min(cosines):.8f}")
    return 0 if min(cosines) >= 0.9999 else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["export"] and len(sys.argv) in (3, 4):
        sys.exit(export(*sys.argv[2:]))
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
