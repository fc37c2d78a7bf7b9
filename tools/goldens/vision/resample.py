"""Goldens of core/media/vision's resampling at all small sizes, made with Pillow. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pillow==13.0.0
    /tmp/venv/bin/python tools/goldens/vision/resample.py core/media/vision/testdata/resample.json

Each digest is the SHA-256 over the results of many sizes, one after the other. The pictures are windows
into one tile of noise, so that the test makes the same ones.
"""
import hashlib, json, sys
import PIL
from PIL import Image

N = 768


def tile():
    n, px = 12345, bytearray()
    for i in range(3 * N * N):
        n = (n * 1103515245 + 12345) & 0x7FFFFFFF
        v = n >> 16 & 255
        px.append(v if i // 15 % 2 else 255 if v > 127 else 0)
    return Image.frombytes("RGB", (N, N), bytes(px))


TILE = tile()


def picture(w, h):
    return TILE.crop((w % 7, h % 5, w % 7 + w, h % 5 + h))


def evaluate(im, side):
    """torchvision: Resize(side, BICUBIC) then CenterCrop(side)."""
    w, h = im.size
    if min(w, h) != side:
        im = im.resize((side, int(side * h / w)) if w <= h else (int(side * w / h), side), Image.BICUBIC)
    top, left = int(round((im.height - side) / 2.0)), int(round((im.width - side) / 2.0))
    return im.crop((left, top, left + side, top + side))


def digest(images):
    h = hashlib.sha256()
    for im in images:
        h.update(im.tobytes())
    return h.hexdigest()


def lcg(seed):
    while True:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 12


def random_sizes(count):
    r = lcg(7)
    for _ in range(count):
        yield next(r) % 120 + 1, next(r) % 400 + 1, next(r) % 90 + 1, next(r) % 90 + 1


out = {"generator": "tools/goldens/vision/resample.py", "pillow": PIL.__version__}
# side → for each width 1 … 40 the digest over the heights 1 … 40
out["evaluate"] = {s: [digest(evaluate(picture(w, h), s) for h in range(1, 41)) for w in range(1, 41)] for s in (1, 2, 3, 7, 8, 16, 24)}
# a shorter side of 224 that needs no scaling: the digest over the longer sides 224 … 740
out["portrait224"] = digest(evaluate(picture(224, h), 224) for h in range(224, 741))
out["landscape224"] = digest(evaluate(picture(w, 224), 224) for w in range(224, 741))
# around the side: all of ± 3, and tall ones at every ratio
out["near64"] = digest(evaluate(picture(w, h), 64) for w in range(61, 68) for h in range(61, 68))
out["tall32"] = digest(evaluate(picture(w, h), 32) for w in (31, 32, 33, 50, 64) for h in range(60, 400, 7))
# scaling from every size to every size up to 9
out["tiny"] = digest(picture(w, h).resize((tw, th), Image.BICUBIC)
                     for w in range(1, 10) for h in range(1, 10) for tw in range(1, 10) for th in range(1, 10))
# crops of every size out of 23 × 31, as RandomResizedCrop takes them
out["crops"] = digest(picture(23, 31).crop(((23 - w) // 2, 31 - h, (23 - w) // 2 + w, 31)).resize((9, 9), Image.BICUBIC)
                      for w in range(1, 24) for h in range(1, 32))
out["random"] = [digest(picture(w, h).resize((tw, th), Image.BICUBIC) for w, h, tw, th in list(random_sizes(1000))[i:i + 100])
                 for i in range(0, 1000, 100)]
json.dump(out, open(sys.argv[1], "w"), indent=0)
