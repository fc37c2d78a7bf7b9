"""Peak resident memory of a training step of open_clip (PyTorch), to hold tandem's against.

The step is the one of experiments/vit-b32.yaml: ViT-B-32 with the transformer at context 77, batch 32,
float32, forward, loss, backward, clipping of the gradient's norm, AdamW. Prints JSON; bytes are VmHWM of
/proc/self/status, which counts everything that was ever resident at once, as `runner bench --memory` does.

    python tools/peer/memory.py [--model ViT-B-32] [--batch 32] [--steps 3] [--checkpointing]

Written for torch 2.x and open_clip 3.x; tandem's figure: bin/runner bench experiments/vit-b32.yaml --memory --json.
"""

import argparse
import json
import os

import open_clip
import torch


def resident(key="VmHWM"):
    for line in open("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    raise SystemExit("needs Linux")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--model", default="ViT-B-32")
    args.add_argument("--batch", type=int, default=32)
    args.add_argument("--steps", type=int, default=3)
    args.add_argument("--checkpointing", action="store_true", help="open_clip's --grad-checkpointing")
    args = args.parse_args()
    imported = resident()
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    model = open_clip.create_model(args.model)
    model.set_grad_checkpointing(args.checkpointing)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    loss = open_clip.ClipLoss()
    size = model.visual.image_size
    size = size if isinstance(size, int) else size[0]
    for _ in range(args.steps):
        images = torch.rand(args.batch, 3, size, size)
        texts = torch.randint(1, 49406, (args.batch, 77))
        texts[:, -1] = 49407  # the end of the text, at the last position: captions of full length
        value = loss(*model(images, texts))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(json.dumps({
        "torch": torch.__version__, "open_clip": open_clip.__version__, "model": args.model, "batch": args.batch,
        "checkpointing": args.checkpointing, "parameters": sum(p.numel() for p in model.parameters()),
        "after_import": imported, "peak": resident(), "loss": value.item(),
    }))


if __name__ == "__main__":
    main()
