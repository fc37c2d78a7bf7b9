#!/usr/bin/env python3
"""Writes the golden files of encoders/bert from OpenCLIP's HFTextEncoder around transformers' BertModel and RobertaModel without
dropout, in double precision: embeddings, the gradient of every parameter, token outputs and their gradients; and folders of small random
models as transformers writes them, with ids and embeddings.

The parameters have tandem's names: query, key and value are one array. Made with transformers 5.24.0 and open_clip_torch 3.3.0.

Usage, at the root of the repository, where they are installed: bert.py
"""
import json
import pathlib

import torch
from open_clip.hf_model import HFTextEncoder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional as F
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from common import ids, safetensors, uniform, value

DIM, OUT = 6, pathlib.Path("plugins/encoders/bert/testdata")
CAPTIONS = ["cat", "a photo of a dog", "this caption is longer than the context of 24 tokens", "é"]
PARTS = ["query", "key", "value"]


def packed(names):
    """Groups names that tandem keeps in one array."""
    out = {}
    for n in names:
        for part in PARTS:
            if f".self.{part}." in n:
                out.setdefault(n.replace(f".self.{part}.", ".self.qkv."), []).append(n)
                break
        else:
            out[n] = [n]
    return out


def golden(name, config, pooler, head, context=24, **settings):
    config.attn_implementation = "eager"
    m = HFTextEncoder("", DIM, config, pooler, head, output_tokens=True)
    if pooler != "cls_pooler":
        m.transformer.pooler = None
    x = ids(CAPTIONS, context, 258)
    lengths = [min(len(c.encode()) + 2, context) for c in CAPTIONS]
    for row, n in zip(x, lengths):
        row[n:] = config.pad_token_id
    names = packed(n for n, _ in m.named_parameters())

    def rewrite(dtype):
        m.to(dtype).eval().zero_grad()
        params = dict(m.named_parameters())
        for to, parts in names.items():
            shape = list(params[parts[0]].shape)
            v = value(to, (shape[0] * len(parts), *shape[1:]))
            for p, part in zip(parts, v.chunk(len(parts))):
                params[p].data = part.to(dtype).clone()

    def grads():
        params = dict(m.named_parameters())
        grad = lambda n: params[n].grad if params[n].grad is not None else torch.zeros_like(params[n])
        return {"grad." + to: torch.cat([grad(n) for n in parts]).clone() for to, parts in names.items()}

    def inner(y, stream, scale):
        return (y * (scale * torch.from_numpy(uniform(stream, y.numel())).reshape(y.shape)).float().to(y.dtype)).sum()

    def run(dtype, autocast=False):
        rewrite(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            pooled, _ = m(x)
        out = {"train": F.normalize(pooled.to(dtype), dim=-1)}
        inner(out["train"], "cotangent", 100).backward()
        return {"eval": out["train"], **out, **grads()}

    out, half = run(torch.float64), run(torch.float32, autocast=True)
    join = lambda r, keys: torch.cat([r[k].detach().double().flatten() for k in keys])
    apart = lambda keys: float((join(half, keys) - join(out, keys)).norm() / join(out, keys).norm())
    keys = [k for k in out if k.startswith("grad.")]
    more = {"with": dict(vocab_size=258, width=16, heads=2, layers=2, hidden=24, positions=config.max_position_embeddings, eps=config.layer_norm_eps,
                         types=config.type_vocab_size, tokenizer="byte", context_length=context, **settings),
            "embed_dim": DIM, "batch": len(CAPTIONS), "captions": CAPTIONS, "parameters": sum(p.numel() for p in m.parameters())}
    safetensors(OUT / f"{name}.safetensors", out, {
        **more, "autocast": {"eval": apart(["eval"]), "train": apart(["train"]), "grads": apart(keys)}})

    rewrite(torch.float64)
    states = m.transformer(input_ids=x, attention_mask=(x != config.pad_token_id).long()).last_hidden_state
    pooled, _ = m(x)
    own = torch.arange(context)[None] < torch.tensor(lengths)[:, None]
    out = {"embedding": F.normalize(pooled, dim=-1), "tokens": F.normalize(m.proj(states), dim=-1) * own[..., None]}
    (inner(out["embedding"], "cotangent", 100) + inner(out["tokens"], "token cotangent", 30)).backward()
    safetensors(OUT / "tokens" / f"{name}.safetensors", out | grads(), {**more, "lengths": lengths})


SIZES = dict(vocab_size=258, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
torch.set_num_threads(1)
bert = lambda: BertConfig(**SIZES, max_position_embeddings=32)
golden("bert-mean-linear", bert(), "mean_pooler", "linear", pool="mean", proj="linear")
golden("bert-pooler-mlp", bert(), "cls_pooler", "mlp", pool="pooler", proj="mlp")
roberta = RobertaConfig(**SIZES, max_position_embeddings=34, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
golden("roberta-cls-linear", roberta, "cls_last_hidden_state_pooler", "linear", pool="cls", proj="linear", position_offset=2)


# Folders as transformers writes them, with what it makes of some texts: ids, and the normalised mean or first of the last hidden states.
TEXTS = ["a photo of a dog", "Two cats, on a WIRE!", "", "naïve café 東京", "dog " * 40]


def folder(name, model, tokenizer, pool, most=24):
    torch.manual_seed(1)
    for p in model.parameters():
        p.data = torch.randn_like(p) * 0.3 + (1 if p.ndim == 1 and p.mean() > 0.5 else 0)
    at = OUT / name
    model.eval().save_pretrained(at)
    first, last = ("[CLS]", "[SEP]") if model.config.model_type == "bert" else ("<s>", "</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=[(t, tokenizer.token_to_id(t)) for t in (first, last)])
    tokenizer.save(str(at / "tokenizer.json"))
    tokenizer.enable_truncation(most)
    ids, out = [], []
    for text in TEXTS:
        ids.append(tokenizer.encode(text).ids)
        x = model(torch.tensor([ids[-1]])).last_hidden_state[0]
        out.append(F.normalize(x.mean(0) if pool == "mean" else x[0], dim=-1).tolist())
    (at / "want.json").write_text(json.dumps({"pool": pool, "context_length": most, "texts": TEXTS, "ids": ids, "embeddings": out}, ensure_ascii=False))


def wordpiece():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz,!", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz"), "photo", "dog", "##gs"]
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return t


def bytelevel():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=280, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


small = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12)
t = wordpiece()
folder("bert-folder", BertModel(BertConfig(**small, vocab_size=t.get_vocab_size(), max_position_embeddings=32)), t, "mean")
t = bytelevel()
folder("roberta-folder", RobertaModel(RobertaConfig(**small, vocab_size=t.get_vocab_size(), max_position_embeddings=34, type_vocab_size=1,
                                                    layer_norm_eps=1e-5)), t, "cls")
