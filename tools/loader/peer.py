#!/usr/bin/env python3
"""Reads batches of JPEG files with PyTorch's DataLoader or with webdataset, on request: the peers of bench.py.

Usage: peer.py LOADER THREADS BATCH FILES SHARDS
LOADER is dataloader (files in the folder FILES, decoded by PIL) or webdataset (the tar files SHARDS). Prints "ready". Each line
on standard input is u8 (pixels, as tandem gives them) or floats (ToTensor and Normalize, as open_clip's training transform);
it reads everything once in that form and prints the number of pictures. Workers stay between the lines.

The transform is open_clip's: RandomResizedCrop(224, scale=(0.9, 1), bicubic) on PIL pictures, convert("RGB").
"""
import pathlib
import sys

import torch
import webdataset as wds
from PIL import Image
from torchvision import transforms as T

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Files(torch.utils.data.Dataset):
    def __init__(self, folder, transform):
        self.paths = sorted(pathlib.Path(folder).glob("*.jpg"))
        self.transform = transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with Image.open(self.paths[i]) as image:
            return self.transform(image), self.paths[i].with_suffix(".txt").read_text()


def open_data(loader, form, threads, batch, files, shards):
    transform = T.Compose([T.RandomResizedCrop(224, scale=(0.9, 1.0), interpolation=T.InterpolationMode.BICUBIC), lambda im: im.convert("RGB")]
                          + ([T.PILToTensor()] if form == "u8" else [T.ToTensor(), T.Normalize(MEAN, STD)]))
    if loader == "dataloader":
        return torch.utils.data.DataLoader(Files(files, transform), batch_size=batch, num_workers=threads, persistent_workers=True)
    samples = (wds.WebDataset(shards, shardshuffle=False, nodesplitter=wds.split_by_node, empty_check=False).decode("pilrgb").to_tuple("jpg", "txt")
               .map_tuple(transform, lambda text: text).batched(batch))
    return wds.WebLoader(samples, batch_size=None, num_workers=threads, persistent_workers=True)


def main():
    loader, threads, batch, files, shards = sys.argv[1:6]
    torch.set_num_threads(1)
    data = {form: open_data(loader, form, int(threads), int(batch), files, shards) for form in ("u8", "floats")}
    for form in data.values():
        sum(len(images) for images, _ in form)  # starts the workers
    print("ready", flush=True)
    for form in sys.stdin:
        print(sum(len(images) for images, _ in data[form.strip()]), flush=True)


if __name__ == "__main__":
    main()
