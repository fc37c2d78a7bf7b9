#!/usr/bin/env python3
"""encoders/hf-text: any text encoder of transformers (BERT, RoBERTa, MiniLM, …) with its tokenizer and a projection."""

from dataclasses import dataclass

import tandem


@dataclass
class Config:
    model: str = tandem.field(path=True, help="folder of the model as transformers saves it: config.json, tokenizer files and, with pretrained, weights")
    pretrained: bool = tandem.field(True, help="start from the folder's weights; false: random")
    pool: str = tandem.field("mean", enum=["mean", "cls", "last", "max"], help="how tokens become one vector")
    head: str = tandem.field("linear", enum=["linear", "mlp"], help="projection to the embedding: linear without bias, or two layers with GELU")
    context_length: int = tandem.field(77, min=2, max=8192, help="most tokens of a text")


def build(c, embed_dim):
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(c.model, local_files_only=True)
        config = AutoConfig.from_pretrained(c.model, local_files_only=True)
        model = (AutoModel.from_pretrained(c.model, local_files_only=True) if c.pretrained else AutoModel.from_config(config)).float()
    except (OSError, ValueError) as e:
        raise tandem.Fault("invalid", f"transformers cannot read it: {e}", path="with.model") from e
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, width = model, config.hidden_size
            self.head = nn.Linear(width, embed_dim, bias=False)
            if c.head == "mlp":
                self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, embed_dim, bias=False))

        def forward(self, **tokens):
            x, mask = self.model(**tokens).last_hidden_state, tokens["attention_mask"]
            if c.pool == "mean":
                x = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            elif c.pool == "max":
                x = x.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)
            else:
                at = mask.sum(1) - 1 if c.pool == "last" else torch.zeros_like(mask[:, 0])
                x = x[torch.arange(len(x), device=x.device), at]
            return self.head(x)

    net = Net()
    net.context_length, net.vocab_size = c.context_length, config.vocab_size
    net.tokenize = lambda texts: dict(tokenizer(texts, padding=True, truncation=True, max_length=c.context_length, return_tensors="pt"))
    net.count_tokens = lambda texts: [len(ids) for ids in tokenizer(texts)["input_ids"]]
    net.set_grad_checkpointing = lambda on=True: model.gradient_checkpointing_enable() if on else None
    return net


if __name__ == "__main__":
    tandem.serve(tandem.Encoder("hf-text", build, modality="text", config=Config, version="1.0.0",
                                summary="any text encoder of transformers with its tokenizer, in PyTorch"))
