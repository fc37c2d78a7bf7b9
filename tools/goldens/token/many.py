"""Writes core/media/token/testdata/many.json: digests of OpenCLIP's token ids for 12,000 random and hostile texts.

Run as generate.py beside this, with the same environment and argument, of Python 3.13. core/media/token's test makes
the same texts from the same numbers. With a block's number as second argument it prints that block instead.
"""
import gzip
import hashlib
import json
import pathlib
import sys

from generate import load

PIECES = """' 's 'S 't 're 'Re 've 'm 'll 'd 'ſ ʼs ’s ＇s n't <start_of_text> <END_OF_TEXT> <|endoftext|> <ſtart_of_text> <start_of_text </w>
ΑΙ\u0345 \u0345 a\u0345b \u0345\u0345 ΟΔΟΣ Σ ΑΣ. ΑΣ\u0301 ΑΣ\u00adΑ Σ\u200dα ΑΣ' ΑΣ'α ʹΣ İ I\u0307 ı i\u0307 K Å ſ ẞ ß ß Ǆ ǅ ᾳ ᾼ ΐ Ω ϴ ﬀ ﬁ ŉ ǰ և
&amp; &amp;amp; &lt; &#39; &#x27; &#0; &#x80; &#xD800; &#1114112; &nbsp; &copy &notit; &acE; &NotEqualTilde; &#837; &EACUTE; &shy; &zwj; &#x1F600;
Ã© â€™ Â  ÐŸÑ€ ðŸ˜€ Å“ ï¿½ â€œ Ã  à¸ æ–‡ \ufffd \x1a \x00 \x07 \x1b[31m \x7f \x85 \x9d \u200b \u200d \u200e \ufeff \u2060 \u00ad \u180e \u061c
e\u0301 a\u0323\u0307 q\u0307\u0323 \u1100\u1161\u11a8 \u0958 \u2126 \u1e9b\u0323 \u0f73 \u0344 \U0001d15e \ufb1d
😀 👍🏽 👩\u200d👩\u200d👧 🏳️\u200d🌈 🇩🇪 1️⃣ ☎️ © ™ ™️ ① ² ½ Ⅷ ↉ 〇 ৴ ௧ 𝟘 ೨ ㊿ ㈠ 猫 カ ｶﾞ Ａ １ ！ ﷺ ไม่ हिन्दी مرحبا שלום ܐ 𐌰 ꟋꟌ 𐵐 𞤀 Ꭰ ꭰ Ა
don't THEY'RE it's_ok a1b2c3 3.14 x² IMG_001.jpg http://a.b/c?d=e&f=g !!! ... ---- ,,,, <p>caf&eacute;</p> "q" “q” ‹x› « » — …""".split()
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\x1c", "\x1f", "\x0b", "\x0c", "\u1680", "\u202f"]
COUNT, BLOCK = 12000, 100


class Numbers:
    def __init__(self, seed):
        self.n = seed

    def __call__(self, below):
        self.n = (self.n * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return (self.n >> 33) % below


def character(c):
    return chr(c if c < 0xD800 or c > 0xDFFF else c - 0x800)


def text(i):
    n = Numbers(i)
    out = ""
    for _ in range(1 + n(10)):
        kind = n(9)
        if kind < 3:
            out += PIECES[n(len(PIECES))]
        elif kind == 3:
            out += SPACES[n(len(SPACES))]
        elif kind == 4:
            out += character(n(0x10000))
        elif kind == 5:
            out += character(n(0x20000))
        elif kind == 6:
            out += "".join(chr(32 + n(95)) for _ in range(1 + n(6)))
        elif kind == 7:
            out += "".join(chr(0x80 + n(0x1D0)) for _ in range(1 + n(3)))
        else:
            out += PIECES[n(len(PIECES))] * (1 + n(30))
    return out


def main():
    module = load(pathlib.Path(sys.argv[1]))

    with gzip.open("/tmp/golden-merges.gz", "wt") as f:
        f.write(pathlib.Path("core/media/token/testdata/merges.txt").read_text().rstrip("\n"))
    tokenizer = module.SimpleTokenizer("/tmp/golden-merges.gz")
    encode = lambda t: [tokenizer.sot_token_id, *tokenizer.encode(t), tokenizer.eot_token_id]
    if len(sys.argv) > 2:
        first = int(sys.argv[2]) * BLOCK
        for i in range(first, first + BLOCK):
            print(i, json.dumps(text(i)), json.dumps(module._clean_lower(text(i))), encode(text(i)))
        return
    digests = []
    for first in range(0, COUNT, BLOCK):
        lines = "".join(",".join(map(str, encode(text(i)))) + "\n" for i in range(first, first + BLOCK))
        digests.append(hashlib.sha256(lines.encode()).hexdigest()[:16])
    with open("core/media/token/testdata/many.json", "w") as f:
        json.dump({"pieces": PIECES, "spaces": SPACES, "digests": digests}, f, indent=0)


if __name__ == "__main__":
    main()
