"""Writes core/token/testdata/{merges.txt,clip.json}: what OpenCLIP's tokenizer gives for some texts.

Run from the repository's root, in a throw-away environment:

    python -m venv /tmp/golden
    /tmp/golden/bin/pip install ftfy==6.3.1 regex numpy
    /tmp/golden/bin/pip download --no-deps -d /tmp/golden open_clip_torch==3.3.0
    /tmp/golden/bin/python -m zipfile -e /tmp/golden/open_clip_torch-3.3.0-*.whl /tmp/golden/wheel
    /tmp/golden/bin/python tools/goldens/token/generate.py /tmp/golden/wheel/open_clip

The tokenizer imports torch for its result tensor only, so that an empty module stands in for it.
merges.txt is the first 2000 lines of bpe_simple_vocab_16e6.txt (MIT, Copyright (c) 2021 OpenAI); the
whole file is read for the ids under "full", which tests compare when TANDEM_CLIP_MERGES names it.
"""

import gzip
import importlib.util
import json
import pathlib
import sys
import types

TEXTS = [
    "a photo of a cat",
    "A Photo of a CAT.",
    "  white\tspace\n\n everywhere \u00a0here\u3000 too ",
    "it's they've I'm we'll you'd don't they're 's 't'd''s",
    "THEY'RE HERE, ISN'T IT?",
    "3 cats & 27 dogs, ½ price, x² + y³",
    "hello!!! ... (world) [42] {a_b} c-d/e",
    "naïve café Über straße ŒUVRE İstanbul ΟΔΟΣ ΣΑΣ",
    "cafÃ© and rÃ©sumÃ© naÃ¯ve",
    "itâ€™s a â€œquotedâ€\u009d line â€“ really â€¦",
    "ðŸ˜€ smile",
    "MÃ¼nchen Â© 2020 Â°C",
    "Ð¿Ñ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€",
    "CAFÉ™ stays, É™ too",
    "&lt;b&gt; &amp;amp; &eacute; &#233; &#x1F600; &hearts; &nosuch; AT&T &copy 2020",
    "<p>x &amp; y &amp;lt; z</p>",
    "&amp;amp;amp;lt; nested",
    "“curly” ‘single’ ʼmodifier „low“ ‹x›",
    "ﬁne ﬂow oﬃce Ǆ ĳ ﬆ",
    "ＦＵＬＬ　ｗｉｄｔｈ ！？ ｶﾞ",
    "line\r\nbreak\rmore\u2028sep\u2029par\u0085nel",
    "con\x00trol\x07 \x1b[31mred\x1b[0m \ufeffbom \u200bzwsp\u200d \u2060",
    "😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 1️⃣ 🇩🇪",
    "e\u0301 decomposed é, a\u030a å",
    "一只猫坐在垫子上 猫 日本語のテキスト 한국어",
    "مرحبا بالعالم शुक्रिया ภาษาไทย שלום",
    "ſ long 'ſ and Kelvin K Ångström Å",
    "“it’s” they’ve",
    "http://example.com/a_photo.jpg?x=1&y=2 IMG_001.jpg",
    "supercalifragilisticexpialidocious aaaaaaaaaaaaaaaaaaaa abababababab",
    "",
    "   ",
    "!",
    "\u2019",
    "word " * 100,
    "one two three four five six seven eight nine ten " * 9 + "end",
    "\U00010348 \U0001D4D0 ⁴ ₂ Ⅷ ㊿ ①",
    "…—–‒― • · № ™ ® © € £ ¥",
]


def load(folder):
    torch = types.ModuleType("torch")
    torch.Tensor = torch.LongTensor = object
    sys.modules["torch"] = torch
    spec = importlib.util.spec_from_file_location("tokenizer", folder / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(tokenizer):
    return [[tokenizer.sot_token_id, *tokenizer.encode(t), tokenizer.eot_token_id] for t in TEXTS]


def main():
    folder = pathlib.Path(sys.argv[1])
    out = pathlib.Path("core/token/testdata")
    module = load(folder)
    lines = gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    cut = "\n".join(lines[:2000]) + "\n"
    (out / "merges.txt").write_text(cut)
    with gzip.open("/tmp/golden-merges.gz", "wt") as f:
        f.write(cut.rstrip("\n"))
    small = module.SimpleTokenizer("/tmp/golden-merges.gz")
    full = module.SimpleTokenizer(str(folder / "bpe_simple_vocab_16e6.txt.gz"))
    golden = [
        {"text": t, "clean": module._clean_lower(t), "ids": s, "full": f}
        for t, s, f in zip(TEXTS, rows(small), rows(full))
    ]
    entries = ",\n".join(json.dumps(g, ensure_ascii=True) for g in golden)
    (out / "clip.json").write_text("[\n" + entries + "\n]\n")
    print(small.vocab_size, full.vocab_size)


main()
