#!/usr/bin/env python3
"""myplugin: a text encoder in PyTorch."""

import zlib
from dataclasses import dataclass

import tandem


@dataclass
class Config:
    width: int = tandem.field(64, min=1, help="channels of a word")
    vocab_size: int = tandem.field(2048, min=2, help="words are told apart by a hash of so many values")


def build(config, embed_dim):
    import torch
    from torch import nn

    class Words(nn.Module):  # the mean of the words' embeddings
        context_length, vocab_size = 16, config.vocab_size

        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(config.vocab_size, config.width, padding_idx=0)
            self.head = nn.Sequential(nn.Linear(config.width, config.width), nn.GELU(), nn.Linear(config.width, embed_dim))

        def tokenize(self, texts):  # → i64 [B, 16], 0 where a text has ended
            ids = torch.zeros(len(texts), self.context_length, dtype=torch.long)
            for row, text in zip(ids, texts):
                words = (text.lower().split() or [""])[: self.context_length]
                row[: len(words)] = torch.tensor([1 + zlib.crc32(word.encode()) % (self.vocab_size - 1) for word in words])
            return ids

        def forward(self, ids):  # → [B, embed_dim]
            return self.head(self.words(ids).sum(1) / (ids > 0).sum(1, keepdim=True))

    return Words()


tandem.serve(tandem.Encoder("myplugin", build, config=Config, modality="text", summary="the mean of word embeddings"))
