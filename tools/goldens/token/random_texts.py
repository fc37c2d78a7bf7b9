"""Writes core/media/token/ftfy/testdata/random.json: ftfy.fix_text on texts damaged at random.

    python -m venv /tmp/golden && /tmp/golden/bin/pip install ftfy==6.3.1
    /tmp/golden/bin/python tools/goldens/token/random_texts.py [COUNT]
"""
import html
import html.entities
import json
import random
import sys

import ftfy
from ftfy.chardata import UTF8_CLUES

WORDS = """café naïve résumé Straße à la mode ñandú œuvre “quoted” ‘single’ — – … € £ © ® ° ½ Привет мир Ελλάδα مرحبا שלום
日本語 한국어 猫 😀 👍🏽 🇩🇪 ไทย हिन्दी Łódź Žižek İstanbul Việt æøå São às àquele voilà √ ≈ ± ™ \ufffd ? \x1a \x85 \x9d ﬁ Ａ ｶﾞ
it’s ² µ Ã Â Ð Ø Ù б в Г Р вЂ β€ ā€ box │┤ §¶ ¡Hola! «fr» \u200b \u200d \ufeff &eacute; &EACUTE; &#233; &amp;lt; &#128;
&#129; &#0; &#x; &notit; <b>""".split()
PAGES = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250"] * 2 + [
    "sloppy-windows-1253", "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437", "windows-1252", "cp932"]
SIGNS = "".join(map(chr, range(0x80, 0x250))) + UTF8_CLUES["utf8_continuation"] + "‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"


def garble(text):
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        text = text.encode().decode(random.choice(PAGES), "replace")
        if random.random() < 0.2:
            text = text.replace("\xa0", " ")
        if random.random() < 0.1:
            text = text.replace("\ufffd", "?")
    return text


def cesu8(text):
    units = text.encode("utf-16-be")
    halves = "".join(chr(units[i] << 8 | units[i + 1]) for i in range(0, len(units), 2))
    return halves.encode("utf-8", "surrogatepass").decode(random.choice(PAGES[:3]))


def damaged():
    words = random.choices(WORDS, k=random.randint(1, 8))
    text = " ".join(words)
    kind = random.random()
    if kind < 0.45:
        return garble(text)
    if kind < 0.6:
        return " ".join(garble(w) if random.random() < 0.5 else w for w in words)
    if kind < 0.7:
        return "".join(random.choices(SIGNS, k=random.randint(1, 12)))
    if kind < 0.75:
        return cesu8(text)
    if kind < 0.85:
        return random.choice(["\n", "\r\n", "\u2028", " "]).join(map(garble, words))
    if kind < 0.9:
        return html.escape(garble(text)).replace("é", random.choice(["&eacute;", "&EACUTE;", "&eacute", "&#xe9;"]))
    if kind < 0.95:
        name = random.choice(list(html.entities.html5))
        return random.choice(["&%s", "x&%sy", "&amp;%s z"]) % random.choice([name, name.upper()])
    return text


def main():
    random.seed(1)
    texts = dict.fromkeys(damaged() for _ in range(int((sys.argv + ["800"])[1])))
    rows = ",\n".join(json.dumps([t, ftfy.fix_text(t)]) for t in texts)
    open("core/media/token/ftfy/testdata/random.json", "w").write("[\n" + rows + "\n]\n")


main()
