"""Goldens of core/media/vision/augment, made with torchvision on PIL pictures. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torchvision==0.29.2 pillow==13.0.0 numpy
    /tmp/venv/bin/python tools/goldens/vision/augment.py core/media/vision/augment/testdata/golden.json

Digests are the first half of the SHA-256 over the results, one after the other. The pictures are computed, so that the test
makes the same ones. Of the blur there are pixels, as torchvision adds floats in an order of its own.
"""
import base64, hashlib, json, sys

import numpy as np
import PIL, torch, torchvision
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.autoaugment import _apply_op

torch.set_num_threads(1)


def picture(kind, w, h):
    """noise has all values; soft runs smoothly within a part of them; flat has one colour; few has four."""
    n, px = 12345, bytearray()
    for i in range(3 * w * h):
        n = (n * 1103515245 + 12345) & 0x7FFFFFFF
        v, at, c = n >> 16 & 255, i // 3, i % 3
        if kind == "noise":
            v = v if i // 15 % 2 else 255 if v > 127 else 0
        elif kind == "soft":
            v = 40 + (at % w * 3 + at // w * 2 + c * 17 + (v >> 5)) % 150
        elif kind == "flat":
            v = 90 + 20 * c
        elif kind == "few":
            v = (v >> 6) * 60 + c
        px.append(v)
    return Image.frombytes("RGB", (w, h), bytes(px))


PICTURES = [("noise", 31, 23), ("soft", 40, 33), ("soft", 9, 50), ("flat", 8, 8), ("few", 16, 17), ("noise", 1, 1), ("noise", 2, 3), ("soft", 224, 224)]


def digest(images):
    h = hashlib.sha256()
    for im in images:
        h.update(im.tobytes())
    return h.hexdigest()[:32]


FACTORS = [0, 0.1, 0.25, 1 / 3, 0.5, 0.6000000238418579, 0.77, 0.9, 1, 1.1, 1.3333, 1.4, 1.9, 2.5, 10]
HUES = [-0.5, -0.3, -0.1, -0.001, 0, 0.003, 0.05, 0.1, 0.25, 0.4999, 0.5]

out = {"generator": "tools/goldens/vision/augment.py", "pillow": PIL.__version__, "torchvision": torchvision.__version__,
       "factors": FACTORS, "hues": HUES, "pictures": [], "strengths": [], "blur": []}

for kind, w, h in PICTURES:
    im = picture(kind, w, h)
    one = {"kind": kind, "w": w, "h": h,
           "brightness": digest(F.adjust_brightness(im, f) for f in FACTORS),
           "contrast": digest(F.adjust_contrast(im, f) for f in FACTORS),
           "saturation": digest(F.adjust_saturation(im, f) for f in FACTORS),
           "hue": digest(F.adjust_hue(im, f) for f in HUES),
           "sharpness": digest(F.adjust_sharpness(im, f) for f in FACTORS),
           "grayscale": digest([F.to_grayscale(im, 3)]), "randaugment": {}}
    space = RandAugment()._augmentation_space(31, (h, w))
    for name, (magnitudes, signed) in space.items():
        results = []
        for m in range(31):
            v = float(magnitudes[m].item()) if magnitudes.ndim else 0.0
            for sign in (1, -1) if signed else (1,):
                results.append(_apply_op(im, name, sign * v, InterpolationMode.NEAREST, None))
        one["randaugment"][name] = digest(results)
    out["pictures"].append(one)

# What each magnitude stands for at all sizes of pictures: the digest of little-endian doubles.
for m in range(31):
    values = []
    for size in range(1, 1025):
        for magnitudes, _ in RandAugment()._augmentation_space(31, (size, size + 7)).values():
            values.append(float(magnitudes[m].item()) if magnitudes.ndim else 0.0)
    out["strengths"].append(hashlib.sha256(np.array(values, "<f8").tobytes()).hexdigest()[:32])

# Every colour, its hue turned; one digest over 64 turns of a few colours and one turn of all.
step = 5
grid = np.stack(np.meshgrid(*[np.arange(0, 256, step, dtype=np.uint8)] * 3, indexing="ij"), -1).reshape(-1, 52, 3)
out["grid"] = digest(F.adjust_hue(Image.fromarray(grid), s / 64 - 0.5) for s in range(65))
whole = np.stack(np.meshgrid(*[np.arange(256, dtype=np.uint8)] * 3, indexing="ij"), -1).reshape(4096, 4096, 3)
out["all"] = digest([F.adjust_hue(Image.fromarray(whole), 0.1)])

for kind, w, h, size, sigma in [("noise", 31, 23, 3, 0.1), ("noise", 31, 23, 3, 0.8), ("noise", 31, 23, 5, 1.5), ("soft", 40, 33, 7, 2.0), ("flat", 8, 8, 3, 1.0), ("noise", 20, 12, 23, 2.0), ("noise", 24, 24, 23, 2.0)]:
    im = picture(kind, w, h)
    if size // 2 >= min(w, h):
        continue
    blurred = F.gaussian_blur(im, [size, size], [sigma, sigma])
    out["blur"].append({"kind": kind, "w": w, "h": h, "size": size, "sigma": sigma, "rgb": base64.b64encode(blurred.tobytes()).decode()})

json.dump(out, open(sys.argv[1], "w"), indent=0)
