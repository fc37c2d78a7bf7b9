#!/usr/bin/env python3
"""Compares the features of whole models of OpenCLIP with random weights: OpenCLIP's own and tandem's, from the same file of
weights, on a few pictures and texts; then writes the weights as `runner export` does, and lets OpenCLIP load them again.

Usage, at the root of the repository, after make build, where open_clip_torch and timm are installed:
    tools/peer/features.py [MODEL …]

MODEL is ViT-B-16-SigLIP unless given, or any other of `runner models`. The texts are bytes, since the vocabularies of published
tokenizers are no part of OpenCLIP. It prints the largest difference of a coordinate of unit vectors and the smallest cosine, and
fails where they are further apart than 1e-5.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

TEXTS = ["cat", "a photo of a dog", "two red birds on a wire above the sea, in the rain, far away from all other birds"]
SPEC = """model: %s
text: {with: {tokenizer: byte}}
data:
  train: {dataset: emoji, with: {split: train}}
train: {batch_size: 2, max_steps: 1}
"""


def runner(*args, cwd):
    return subprocess.run([pathlib.Path("bin/runner").resolve(), *map(str, args), "--db", cwd / "results.db", "--runs-dir", cwd / "runs"],
                          check=True, capture_output=True, text=True).stdout


def ids(context, vocab):
    """Token ids of the byte tokenizer: start, bytes, end, zeros."""
    out = torch.zeros(len(TEXTS), context, dtype=torch.long)
    for row, text in zip(out, TEXTS):
        tokens = [vocab - 2, *text.encode(), vocab - 1]
        if len(tokens) > context:
            tokens = tokens[: context - 1] + [vocab - 1]
        row[: len(tokens)] = torch.tensor(tokens)
    return out


def features(model, pictures, tokens):
    with torch.no_grad():
        return model.encode_image(pictures, normalize=True), model.encode_text(tokens, normalize=True)


def compare(name, folder):
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None).eval()
    for p in model.parameters():  # biases and gains that are not 0 and 1
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    weights = folder / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
    config = open_clip.get_model_config(name)
    side, text = config["vision_cfg"]["image_size"], config["text_cfg"]
    mean, std = ([0.5] * 3, [0.5] * 3) if "SigLIP" in name else (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    pixels[:2] = np.array(Image.fromarray(pixels[0, :8, :8]).resize((side, side), Image.BICUBIC))  # a smooth one
    pixels[1] = 255 - pixels[0]
    for i, p in enumerate(pixels):
        Image.fromarray(p).save(folder / "pictures" / f"{i}.png")
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    spec = folder / "spec.yaml"
    spec.write_text(SPEC % name)

    pictures = ((torch.from_numpy(pixels).float() / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)
    tokens = ids(text["context_length"], text["vocab_size"])
    theirs = features(model, pictures, tokens)
    del model
    run = json.loads(runner("import", weights, "--as", spec, "--json", cwd=folder))
    runner("embed", "--run", "latest", "--images", folder / "pictures", "--texts", folder / "texts.txt", "--out", folder / "out.safetensors", cwd=folder)
    ours = load_file(folder / "out.safetensors")
    worst = 0
    for kind, a in zip(("image", "text"), theirs):
        b = ours[kind + "_features"]
        difference, cosine = float((a - b).abs().max()), float((a * b).sum(1).min())
        print(f"{name}, {kind}: a coordinate differs by at most {difference:.2g}, ‖a−b‖ by {float((a - b).norm(dim=1).max()):.2g}, cosine at least {cosine:.8f}")
        worst = max(worst, difference)
    exported = folder / "exported.safetensors"
    runner("export", "latest", "--format", "open_clip", "-o", exported, cwd=folder)
    open_clip.add_model_config(folder / "exported.json")
    again = open_clip.create_model("exported", pretrained=str(exported)).eval()
    source = load_file(weights)
    same = all(torch.equal(v, source[k]) for k, v in again.state_dict().items() if k in source) and set(again.state_dict()) == set(source)
    print(f"{name}: OpenCLIP loads the export{'' if same else ', but NOT with the same bits'}; run {run.get('run', run) if isinstance(run, dict) else run}")
    return worst <= 1e-5 and same


torch.set_num_threads(2)
good = True
for name in sys.argv[1:] or ["ViT-B-16-SigLIP"]:
    with tempfile.TemporaryDirectory() as folder:
        good = compare(name, pathlib.Path(folder)) and good
sys.exit(not good)
