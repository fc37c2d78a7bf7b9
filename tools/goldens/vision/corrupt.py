"""Goldens of core/media/vision/corrupt, by the expressions of ImageNet-C. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy==2.5.1 scipy==1.17.1 pillow==13.0.0
    /tmp/venv/bin/python tools/goldens/vision/corrupt.py core/media/vision/corrupt/testdata/golden.json

The expressions are those of make_imagenet_c.py (Hendrycks and Dietterich 2019), where skimage's gaussian is scipy's
gaussian_filter with the mode it passes on, and rgb2hsv and hsv2rgb are colorsys's.
"""
import base64, colorsys, io, json, sys
import numpy as np, PIL, scipy
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE = 32
photo = np.array(Image.open("core/media/vision/testdata/photos/want-astronaut-64.png").convert("RGB"))
picture = photo[8:8 + SIDE, 12:12 + SIDE].copy()
picture[0, 0] = 0
unit = picture / 255.0


def cut(v):
    return np.uint8(np.clip(v, 0, 1) * 255)


def blur(c):
    sigma = c * SIDE / 224
    return cut(gaussian_filter(unit, (sigma, sigma, 0), mode="nearest", truncate=4.0))


def brightness(c):
    out = np.zeros_like(unit)
    for i in range(SIDE):
        for j in range(SIDE):
            h, s, v = colorsys.rgb_to_hsv(*unit[i, j])
            out[i, j] = colorsys.hsv_to_rgb(h, s, min(max(v + c, 0), 1))
    return cut(out)


def contrast(c):
    means = unit.mean(axis=(0, 1), keepdims=True)
    return cut((unit - means) * c + means)


def jpeg(c):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=c)
    return np.array(Image.open(io.BytesIO(out.getvalue())).convert("RGB"))


def rotation(c):
    return np.array(Image.fromarray(picture).rotate(c, resample=Image.BILINEAR))


def pack(a):
    return base64.b64encode(a.tobytes()).decode()


json.dump(dict(made="numpy %s, scipy %s, pillow %s" % (np.__version__, scipy.__version__, PIL.__version__), side=SIDE, picture=pack(picture),
               want={"gaussian_blur": [pack(blur(c)) for c in (1, 2, 3, 4, 6)],
                     "brightness": [pack(brightness(c)) for c in (.1, .2, .3, .4, .5)],
                     "contrast": [pack(contrast(c)) for c in (.4, .3, .2, .1, .05)],
                     "jpeg": [pack(jpeg(c)) for c in (25, 18, 15, 10, 7)],
                     "rotation": [pack(rotation(c)) for c in (5, -10, 15, 20, 30)]}), open(sys.argv[1], "w"))
