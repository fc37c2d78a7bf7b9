"""The texts of core/media/token/testdata/clip.json: whatever has been nasty to a tokenizer."""
import unicodedata

import ftfy.bad_codecs  # noqa: F401 the sloppy code pages

PLAIN = [
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

SHAPES = [
    # joined emoji, flags, tags, variation selectors, skin tones, keycaps
    "👨‍👩‍👧‍👦 family", "👩🏿‍🚀🧑🏻‍🚒", "🏴󠁧󠁢󠁥󠁮󠁧󠁿🏴󠁧󠁢󠁷󠁬󠁳󠁿", "🏳️‍⚧️ 🏴‍☠️", "❤️‍🔥 ❤ ❤️ ♥︎", "#️⃣*️⃣0️⃣", "🇺🇸🇬🇧🇫🇷🇩", "🧑‍🤝‍🧑🏽",
    "👍👍🏻👍🏼👍🏽👍🏾👍🏿", "emoji😀in😀words", "😀😃😄😁😆😅😂🤣", "🫠🫡🫢 new ones", "☺️☹️☠️", "©️®️™️", "🀄🃏🈚", "♀️♂️⚕️",
    # combining marks
    "Z̷̢̛a̴l̶g̵o̸ ̴t̷e̶x̵t̴", "q\u0307\u0323 q\u0323\u0307 s\u0323\u0307", "\u0301 alone", "a\u0300\u0301\u0302\u0303\u0304", "ﷺ ﷽",
    "कि क़ ड़ \u0928\u093c", "각 \u1100\u1161\u11a8 \u3131", "Å \u212b A\u030a", "ê̄ Ê̌", "i\u0307 İ I\u0307 ı",
    "v\u0302\u0323 Việt Nam", "\u0344 \u0340\u0341 \u0374 \u037e", "e\u20dd 1\u20e3",
    # right to left, bidirectional controls
    "مرحبا hello مرحبا", "\u202eesrever\u202c", "\u2066isolated\u2069 \u061c", "שָׁלוֹם עֲלֵיכֶם", "ﻣﺮﺣﺒﺎ presentation",
    "۱۲۳ ٤٥٦", "لا إله الا", "پاکستان اردو", "ייִדיש", "ܫܠܡܐ \u200emark\u200f",
    # scripts
    "汉字漢字かなカナ한글", "東京都は日本の首都。", "「引用」『二重』、。・…", "中文，标点！？", "㍿㌔㎏㈱", "ㄅㄆㄇ", "ཀཁགང བོད", "ᠮᠣᠩᠭᠣᠯ",
    "မြန်မာ", "ខ្មែរ", "ລາວ", "ไม่มีช่องว่างระหว่างคำ", "தமிழ் తెలుగు ಕನ್ನಡ മലയാളം", "বাংলা ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ සිංහල",
    "नमस्ते दुनिया १२३", "ქართული ՀԱՅԵՐԵՆ հայերեն", "አማርኛ", "ᏣᎳᎩ ꮳꮃꭹ", "ΑΒΓ αβγ ΐ ΰ ς σ Σ", "ΟΔΥΣΣΕΥΣ ΣΟΦΟΣ. ΣΑΣ'S",
    "Ёлка ёлка ЇЖАК ЉУБ", "𐐀𐐁 𐐨𐐩", "𝕳𝖊𝖑𝖑𝖔 𝓦𝓸𝓻𝓵𝓭 𝟙𝟚𝟛", "🅰🅱 Ⓐⓑ ⒈ ⑴", "𒀀𒁀 𓀀𓁀", "ꙮ ꜳ Ꜳ ꟼ", "ẞ ß ẛ ſs", "ĸ ŋ Ŋ ƿ Ƿ",
    "ǅ ǈ ǋ ǲ", "Þórður Æsir Œuvre", "ĞĢ ğģ ŞȘ şș",
    # white space, zero width, controls, odd code points
    "\t\n\r\f\v mixed", "\u00a0\u2002\u2003\u2009\u200a\u202f\u205f\u3000", "a\u00a0b\u2003c\u3000d",
    "a\u200bb\u200cc\u200dd\u2060e\ufefff", "\ufeffbom first", "soft\u00adhyphen", "a\x1cb\x1dc\x1ed\x1fe", "\x00\x01\x02",
    "a\x7fb\x80c\x81d\x9fe", "\x1b[1;31mbold red\x1b[0m\x1b[2J", "\x1b]0;title\x07", "\x1b[\u0663m arabic digit",
    "nul\x00in\x00side", "line1\nline2\r\nline3\rline4", "\u2028\u2029", "\u0085next\u0085line", "\x0b\x0c", "\u180e mongolian",
    "\u115f\u1160\u3164 fillers", "\ufff9note\ufffatext\ufffb \ufffc", "\u206a\u206f deprecated", "tag\U000e0001\U000e0061",
    "\ufdd0\ufffe\uffff\U0001fffe", "\ue000\uf8ff private", "\U0010ffff last", "\ufffd replaced \ufffd\ufffd", "\x1asubstitute",
    "a\ud7ffb\ue000c", "\ufe0e\ufe0f alone", "\u034f\u17b4\u17b5",
    # HTML
    "&amp;", "&amp;amp;", "&amp;amp;amp;amp;amp;amp;", "&lt;script&gt;alert(1)&lt;/script&gt;", "&amp;lt;b&amp;gt;",
    "a &lt; b &amp;&amp; c &gt; d", "AT&amp;T vs AT&T", "&nbsp;&nbsp;two&nbsp;spaces", "caf&eacute; &Eacute;COLE &EACUTE;COLE &eACUTE;",
    "STRA&SZLIG;E &NTILDE; &SUP3; &FRAC12;", "&#8220;quoted&#8221; &#x2019;", "&#38;#38; &#38;amp;", "&#128;&#129;&#150;&#x80;",
    "&#0; &#x0; &#xD800; &#1114112; &#99999999999;", "&#13;&#10;", "&#7;&#127;&#xfdd0;&#xffff;", "&copy &reg &euro &notit; &notin; &ampere",
    "&lt;&lt &gt;&gt", "&#; &#x; &; & &;&", "&CounterClockwiseContourIntegral; &NotEqualTilde; &nGt; &nLt;", "&semi; &#59; &num; &lbrack;",
    "&quot;it&apos;s&quot; &#39;", "<a href=\"x?a=1&amp;b=2\">l&iuml;nk</a>", "1 < 2 &eacute;\n&eacute; after", "&eacute;\n< &eacute;",
    "&Ccedil;a&nbsp;va&nbsp;?", "&ZeroWidthSpace;&shy;&zwj;x", "&hearts;&spades;&check;&cross;",
    "&hellip;&mdash;&ndash;&lsquo;&rsquo;&ldquo;&rdquo;", "x&sup2;+y&sup2;&le;r&sup2;", "&amp;eacute; &amp;#233; &amp;amp;#233;",
    "&fflig;&filig;&ffilig; &fjlig;", "&#xD83D;&#xDE00; halves of a pair",
    # quotes, dashes, ligatures, widths
    "‘single’ ‚low‛ “double” „low‟ «guillemets» ‹x›", "ʼn ŉ ʼ ʻ ʽ ′ ″ ‴", "rock ’n’ roll ’90s",
    "don’t can’t won’t I’ll we’ve they’d I’m you’re", "DON'T CAN'T WE'LL I'D I'M", "'tis 'twas o'clock rock'n'roll",
    "''''s 's's 'S 'ſ 'T'", "'re 've 'll 'RE'VE'LL", "—em–en‐hyphen‑nb‒fig―bar−minus", "ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ ĳ Ĳ",
    "Ｆｕｌｌ　Ｗｉｄｔｈ　１２３！＠＃", "ﾊﾝｶｸｶﾅ ﾊﾟﾋﾟ ｡｢｣", "￠￡￢￣￤￥￦", "ﾡﾢﾣ half hangul", "＂＇｀ quotes", "‥…⋯", "№ ℡ ™ ℠ ℃ ℉ Å Ω K",
    "½⅓¼⅔ x² x₂ ⁿ", "Ⅳ ⅳ Ⅻ ↉ 〇 五", "①②③ ⑩ ㉑",
    # punctuation, numbers, addresses
    "!!!???...", "$1,234.56 €1.234,56 £5 ¥500 ₹99 ₿1", "3.14159265358979323846", "1234567890" * 5, "0x1F4A9 1e-10 -273.15°C",
    "50% off! buy 1 get 1", "192.168.0.1:8080 ::1", "user.name+tag@example.co.uk", "https://例え.jp/パス?q=値#f",
    "C:\\path\\to\\file.txt /usr/bin", "#hashtag @mention", "a_b__c___d -_- ^_^ (╯°□°)╯︵ ┻━┻", "¯\\_(ツ)_/¯ ಠ_ಠ",
    "(>_<) ;-) :D <3 </3", "{}[]()<>|\\/~`@#$%^&*", "C++ C# .NET F# a+b=c", "10:30pm 2024-01-01T00:00:00Z", "H₂O CO₂ E=mc²",
    "♪♫♬ ★☆ ♠♣♥♦ ✓✗", "→←↑↓ ⇒ ∀∃∈∉ ∑∏∫ √2 ≈ ∞", "┌─┐│└┘ ░▒▓█", "½½½123abc١٢٣", "a1b2c3 x1 1x", "<|startoftext|> <|endoftext|>",
    "a<end_of_text>b <START_OF_TEXT>", "<\u017ftart_of_text>", "<start_of_text>'s</end_of_text>", "<|end of text|> <| endoftext |> <|endoftext|", "</w> the</w> Ġ Ċ",
    # case
    "İSTANBUL ısırgan IĞDIR", "STRASSE STRAẞE straße", "ΆΈΉΊΌΎΏ ΑΣ ΑΣΑ ΑΣ. Σ", "ǄUNGLA ǅungla", "ŒUVRE ÆGIR",
    "KELVIN \u212a \u2126 \u212b", "ᾈ ᾳ ᾼ ῌ", "Ꭰ ꭰ Ა ა", "ﬁRST ﬅ", "ŉ ǰ ΐ և ẖ ẗ", "𐐀 DESERET", "MiXeD CaSe WoRdS",
    "ALL CAPS SHOUTING!!!", "ⒶⒷ ⓐ Ⅷ ⅷ",
    # long ones
    "supercalifragilistic" * 20, "ab" * 200, "x" * 300, "no spaces " * 200, "a" * 10000, "The quick brown fox. " * 500, "猫" * 10000,
    "😀" * 2500, "e\u0301" * 5000, "1" * 10000, "!" * 10000, " " * 10000, "\u00a0" * 5000 + "x", "don't " * 1700, "&amp;" * 2000,
    "Ã©" * 5000, "pneumonoultramicroscopicsilicovolcanoconiosis",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
    "taumatawhakatangihangakoauauotamateaturipukakapikimaungahoronukupokaiwhenuakitanatahu",
    # near nothing
    "\n", "\u3000", "\u200b", "\ufeff", "\x00", ".", "'", "'s", "&", "<", "\ufffd", "0", "é", "猫", "\u0301", "\U0001f600",
    # mojibake whole, half and mixed, and what only looks like it
    "perfectly fine café beside cafÃ© broken", "Ã la mode, voilÃ  le travail", "Ã s vezes fui Ã quele lugar", "fÃ cil Ã ",
    "â€œlostâ€\ufffd and â€?", "it?s cafÃ\ufffd", "IL Y MARQUÃ‰…", "CAFÉ™ LE MARQUÉ…", "“Ã” alone; Å is a word; Â¿QuÃ©?",
    "AÑO ±5 ÅNGSTRÖM°", "È° Ñ² É™ À®", "ÃÃÃÃ ÂÂÂÂ", "Ã¢â‚¬â„¢ twice", "ÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢ thrice",
    "L&AMP;AMP;ATILDE;&AMP;AMP;SUP3;PEZ", "âœ” check âœ˜", "ðŸ˜\x8d ðŸ’© \xf0\x9f\x98\x80", "í\xa0½í¸\x80 cesu", "À\x80 null",
    "cafÃ© À\nnext", "\xc3\xa9 latin-1 bytes", "ï»¿bom read wrong", "рџ’Љ РїСЂРёРІРµС‚", "Ð¡Ð¾Ð²ÐµÑ‚Ñ\x81ÐºÐ¸Ð¹", "Î•Î»Î»Î¬Î´Î±",
    "×©×œ×•×\x9d", "Ù…Ø±Ø­Ø¨Ø§", "à¤¨à¤®à¤¸à¥\x8dà¤¤à¥‡", "æ—¥æœ¬èªž", "í•œêµ\xadì–´", "à¸ªà¸§à¸±à¸ªà¸”à¸µ", "‚Äútest‚Äù ‚Äî √©t√©",
    "caf├⌐ na├»ve ΓÇ£quoteΓÇ¥", "Ä‡Å¡Å¾ ÄŤĹˇĹľ", "Ăˇ Ă© Ă­", "β€™s β€œΕλβ€\x9d", "ā€™s Ć©", "ГўВЂВ™s", "P&EACUTE;REZ AND MU&NTILDE;OZ",
    "(ã\x83\x84) ãƒ„", "l’été œuf sœur CŒUR Œ1", "Ø§ÙŠ ØØ ÙÙ", "Â£5 Â½ Â° 5Â€", "├─┬ box ▀▄ é│", "naïve — façade … (fine)",
    "ÐÐÐ ÑÑÑ", "Ö ä ü Ä Ö Ü ß ¿ ¡ fine",
]

# What UTF-8 becomes when read as another code page, some of which lose bytes.
SAMPLES = [
    "café “quoted” naïve", "Привет, мир — ёлка", "日本語と한국어 😀", "Łódź Žižek İğdır ½ £5", "Ελλάδα שלום مرحبا",
    "it’s… 50 € • ñandú à la",
]
PAGES = [
    "latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253", "sloppy-windows-1254",
    "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437", "cp932", "gbk",
]


def garbled():
    for sample in SAMPLES:
        for page in PAGES:
            yield sample.encode().decode(page, "replace")
        yield sample.encode().decode("windows-1252", "replace")
        yield sample.encode().decode("latin-1").encode().decode("sloppy-windows-1252")
        yield sample.encode().decode("sloppy-windows-1252").replace("\xa0", " ")
        yield "fine é, " + sample.encode().decode("sloppy-windows-1252") + " 猫"
        yield unicodedata.normalize("NFD", sample)


TEXTS = list(dict.fromkeys(PLAIN + SHAPES + list(garbled())))
assert len(TEXTS) >= 300
