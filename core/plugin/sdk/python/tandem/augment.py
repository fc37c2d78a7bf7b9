"""What follows the crop in training: core/media/vision/augment's changes, made by Pillow itself and with the same random numbers."""

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .fault import Fault

BINS = 31  # magnitudes of RandAugment


class Edits:
    """The changes that a configuration asks for, an Augment of the protocol. It is false when there are none."""

    def __init__(self, a):
        self.ops, self.magnitude = a.randaugment_ops, a.randaugment_magnitude
        self.jitter, self.jitter_prob = list(a.color_jitter) or [0.0] * 4, a.color_jitter_prob
        self.grayscale, self.blur, self.sigma = a.grayscale, a.blur, (a.blur_sigma_min, a.blur_sigma_max)
        for path in ("color_jitter_prob", "grayscale", "blur"):
            if not 0 <= getattr(a, path) <= 1:
                _refuse(path, getattr(a, path), "a probability")
        if len(self.jitter) != 4 or not all(0 <= v <= most for v, most in zip(self.jitter, (100, 100, 100, 0.5))):
            _refuse("color_jitter", self.jitter, "brightness, contrast, saturation of 0 to 100 and hue of 0 to 0.5")
        if self.blur > 0 and not 0 < self.sigma[0] <= self.sigma[1] <= 100:
            _refuse("blur_sigma", list(self.sigma), "0 < low ≤ high ≤ 100")
        if not 0 <= self.ops <= 100:
            _refuse("randaugment_ops", self.ops, "0 to 100")
        if not 0 <= self.magnitude <= 30:
            _refuse("randaugment_magnitude", self.magnitude, "0 to 30")

    def __bool__(self):
        return bool(self.ops or self.jitter_prob or self.grayscale or self.blur)

    def apply(self, pixels, stream):
        """Returns pixels u8 [H, W, 3] as they are changed. stream(purpose) returns the random numbers of a part."""
        if not self:
            return pixels
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if self.ops > 0:
            image = _randaugment(image, self.ops, self.magnitude, stream("randaugment"))
        if self.jitter_prob > 0:
            image = _jitter(image, self.jitter, self.jitter_prob, stream("color jitter"))
        if self.grayscale > 0 and stream("grayscale").random() < self.grayscale:
            image = image.convert("L").convert("RGB")
        if self.blur > 0:
            s = stream("blur")
            if s.random() < self.blur:
                sigma = s.uniform(*self.sigma)
                return _blur(np.asarray(image), 2 * (min(image.size) // 20) + 1, sigma)
        return np.asarray(image)


def _refuse(path, value, want):
    raise Fault("invalid", f"{value}, want {want}", path="augment." + path)


def _jitter(image, strengths, prob, s):
    if s.random() >= prob:
        return image
    order = s.perm(4)
    by = [s.uniform(-v, v) if i == 3 else s.uniform(max(0.0, 1 - v), 1 + v) for i, v in enumerate(strengths)]
    for i in order:
        if strengths[i] == 0:
            continue
        image = _hue(image, by[3]) if i == 3 else (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[i](image).enhance(by[i])
    return image


def _hue(image, shift):
    h, s, v = image.convert("HSV").split()
    turned = np.asarray(h) + np.int32(shift * 255).astype(np.uint8)  # uint8 wraps around
    return Image.merge("HSV", (Image.fromarray(turned), s, v)).convert("RGB")


def _randaugment(image, ops, magnitude, s):
    for _ in range(ops):
        make, strength, signed = _OPS[s.integer(len(_OPS))]
        v = strength(magnitude, *image.size)
        if signed and s.integer(2) == 1:
            v = -v
        image = make(image, v)
    return image


def _between(low, high):
    """Returns the magnitudes from low to high as torch.linspace computes them: from the nearer end, fused."""
    low, high = np.float32(low), np.float32(high)
    step = np.float32((high - low) / np.float32(BINS - 1))

    def at(m):
        if m < BINS // 2:
            return float(np.float32(float(low) + float(step) * m))
        return float(np.float32(float(high) - float(step) * (BINS - 1 - m)))

    return at


def _affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))


def _slope(v):
    return math.radians(math.degrees(math.atan(v)))


def _constant(low, high):
    at = _between(low, high)
    return lambda m, w, h: at(m)


def _nothing(m, w, h):
    return 0.0


_CHANGE = _constant(0, 0.9)

# In torchvision's order: the change, its strength at a magnitude for pictures of w × h, and whether the sign is drawn.
_OPS = [
    (lambda im, v: im, _nothing, False),
    (lambda im, v: _affine(im, 1, math.tan(_slope(v)), 0, 0, 1, 0), _constant(0, 0.3), True),
    (lambda im, v: _affine(im, 1, 0, 0, math.sin(_slope(v)) / math.cos(_slope(v)), 1, 0), _constant(0, 0.3), True),
    (lambda im, v: _affine(im, 1, 0, -int(v), 0, 1, 0), lambda m, w, h: _between(0, 150 / 331 * w)(m), True),
    (lambda im, v: _affine(im, 1, 0, 0, 0, 1, -int(v)), lambda m, w, h: _between(0, 150 / 331 * h)(m), True),
    (lambda im, v: im.rotate(v, Image.Resampling.NEAREST, fillcolor=(0, 0, 0)), _constant(0, 30), True),
    (lambda im, v: ImageEnhance.Brightness(im).enhance(1 + v), _CHANGE, True),
    (lambda im, v: ImageEnhance.Color(im).enhance(1 + v), _CHANGE, True),
    (lambda im, v: ImageEnhance.Contrast(im).enhance(1 + v), _CHANGE, True),
    (lambda im, v: ImageEnhance.Sharpness(im).enhance(1 + v), _CHANGE, True),
    (lambda im, v: ImageOps.posterize(im, int(v)), lambda m, w, h: 8 - round(m / 7.5), False),
    (lambda im, v: ImageOps.solarize(im, v), _constant(255, 0), False),
    (lambda im, v: ImageOps.autocontrast(im), _nothing, False),
    (lambda im, v: ImageOps.equalize(im), _nothing, False),
]


def _blur(pixels, size, sigma):
    """Returns pixels under a Gaussian kernel of size × size, summed in single precision: along the columns, then the rows."""
    half = size // 2
    if half == 0:
        return pixels
    x = np.arange(-half, half + 1).astype(np.float32) / np.float32(sigma)
    taps = np.array([math.exp(-0.5 * float(v)) for v in x * x], np.float32)
    total = np.float32(0)
    for tap in taps:
        total += tap
    taps /= total
    h, w, _ = pixels.shape
    padded = np.pad(pixels.astype(np.float32), ((half, half), (0, 0), (0, 0)), mode="reflect")
    down = np.zeros(pixels.shape, np.float32)
    for k, tap in enumerate(taps):
        down += tap * padded[k : k + h]
    padded = np.pad(down, ((0, 0), (half, half), (0, 0)), mode="reflect")
    out = np.zeros(pixels.shape, np.float32)
    for k, tap in enumerate(taps):
        out += tap * padded[:, k : k + w]
    return np.rint(np.minimum(out, 255)).astype(np.uint8)
