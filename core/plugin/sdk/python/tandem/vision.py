"""CLIP's training and evaluation transforms: the pixels of core/media/vision, by Pillow's own resampling."""

import math
import os

import numpy as np
from PIL import Image

from .skips import PictureError

MOST = 1 << 26  # pixels of a picture

# Pillow 13 chooses the order of the passes as tandem does; before, a few pixels differ by a level.
EXACT = int(Image.__version__.split(".")[0]) >= 13


def load(source, background):
    """Returns what an author gave as a picture in RGB, transparent pixels over a background."""
    if callable(source):
        source = source()
    if source is None:
        raise PictureError("there is no picture", "no picture")
    if isinstance(source, (str, os.PathLike)):
        if os.path.getsize(source) == 0:
            raise PictureError(f"{os.fspath(source)} has no bytes", "empty picture")
        with Image.open(source) as image:
            return _rgb(image, background)
    if isinstance(source, Image.Image):
        return _rgb(source, background)
    a = np.asarray(source)
    if a.dtype != np.uint8 or a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (1, 3, 4)):
        raise ValueError(f"a picture is {a.dtype} {list(a.shape)}, want uint8 [H, W, 3]")
    if a.ndim == 3 and a.shape[2] == 1:
        a = a[:, :, 0]
    return _rgb(Image.fromarray(a), background)


def _rgb(image, background):
    w, h = image.size
    if w < 1 or h < 1 or w * h > MOST:
        raise PictureError(f"a picture has {w} × {h} pixels, want 1 to {MOST}", "too many pixels" if w * h > MOST else "corrupt picture")
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image.copy() if getattr(image, "filename", "") else image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        out = Image.new("RGB", image.size, background)
        out.paste(image.convert("RGB"), mask=image.getchannel("A"))
        return out
    return image.convert("RGB")


def evaluate(image, size):
    """Returns a picture scaled to size on its shorter side, the centre square of it."""
    w, h = size, size
    if image.width < image.height:
        h = int(size * image.height / image.width)
    else:
        w = int(size * image.width / image.height)
    x, y = round((w - size) / 2), round((h - size) / 2)
    return np.asarray(image.resize((w, h), Image.Resampling.BICUBIC).crop((x, y, x + size, y + size)))


def draw_crop(s, w, h, scale, ratio):
    """Draws a rectangle of a picture as torchvision's RandomResizedCrop does: ten tries, then the centre."""
    area, lo, hi = float(w) * float(h), math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target = area * s.uniform(*scale)
        r = math.exp(s.uniform(lo, hi))
        cw, ch = round(math.sqrt(target * r)), round(math.sqrt(target / r))
        if 0 < cw <= w and 0 < ch <= h:
            y = s.integer(h - ch + 1)
            x = s.integer(w - cw + 1)
            return x, y, cw, ch
    cw, ch = w, h
    if w / h < ratio[0]:
        ch = round(w / ratio[0])
    elif w / h > ratio[1]:
        cw = round(h * ratio[1])
    cw, ch = max(cw, 1), max(ch, 1)
    return (w - cw) // 2, (h - ch) // 2, cw, ch


def augment(image, size, s, scale, ratio, flip):
    """Returns a random crop of a picture, scaled to size × size, mirrored with probability flip."""
    x, y, w, h = draw_crop(s, image.width, image.height, scale, ratio)
    out = np.asarray(image.crop((x, y, x + w, y + h)).resize((size, size), Image.Resampling.BICUBIC))
    return out[:, ::-1] if s.random() < flip else out
