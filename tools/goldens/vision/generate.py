"""Goldens of core/media/vision, made with Pillow. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pillow==13.0.0
    /tmp/venv/bin/python tools/goldens/vision/generate.py core/media/vision/testdata

Every picture is drawn here from fixed formulas, so that the files are ours and reproducible. The
results are in golden.json with Pillow's version. resample.py beside this has many more sizes.

"""
import base64, hashlib, io, json, math, os, sys
import PIL
from PIL import Image

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def noise(w, h, bands, salt):
    """Half gradient, half hard-edged noise: overshoot of the cubic must be clipped both ways."""
    n, px = 12345 + salt, bytearray()
    for y in range(h):
        for x in range(w):
            for b in range(bands):
                n = (n * 1103515245 + 12345) & 0x7FFFFFFF
                v = (x * 255 // max(1, w - 1) + b * 60 + y) % 256
                if (x // 5 + y // 7) % 2:
                    v = 255 if (n >> 16) & 1 else 0
                px.append(v)
    return bytes(px)


def picture(mode, w, h, salt=0):
    return Image.frombytes(mode, (w, h), noise(w, h, len(Image.new(mode, (1, 1)).getbands()), salt))


def value(im, small=False):
    raw = im.tobytes()
    v = {"w": im.width, "h": im.height, "sha256": hashlib.sha256(raw).hexdigest()}
    if small and len(raw) <= 3000:
        v["rgb"] = base64.b64encode(raw).decode()
    return v


def evaluate(im, s):
    """torchvision: Resize(s, BICUBIC) then CenterCrop(s)."""
    w, h = im.size
    im = im.resize((s, int(s * h / w)) if w <= h else (int(s * w / h), s), Image.BICUBIC)
    top, left = int(round((im.height - s) / 2.0)), int(round((im.width - s) / 2.0))
    return im.crop((left, top, left + s, top + s))


resize, decode = [], []
for name, (w, h) in {"wide": (61, 37), "tall": (33, 80), "square": (64, 64), "thin": (97, 3)}.items():
    im = picture("RGB", w, h)
    im.save(f"{out}/{name}.png")
    for tw, th in [(16, 16), (15, 17), (64, 64), (61, 20), (20, 37), (7, 120), (w, h), (1, 1), (130, 90)]:
        resize.append({"src": name + ".png", "op": "resize", "to": [tw, th], "want": value(im.resize((tw, th), Image.BICUBIC))})
    for s in [8, 15, 16, 31, 32, 48, 113]:
        resize.append({"src": name + ".png", "op": "evaluate", "to": [s, s], "want": value(evaluate(im, s))})
    for box in [(0, 0, w, h), (1, 1, w - 2, h - 1), (w // 3, h // 3, w // 3 + 9, h // 3 + 1)]:
        for s in [16, 24]:
            resize.append({"src": name + ".png", "op": "crop", "box": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                           "to": [s, s], "want": value(im.crop(box).resize((s, s), Image.BICUBIC))})


def over(im, bg):
    im = im.convert("RGBA")
    base = Image.new("RGB", im.size, bg)
    base.paste(im.convert("RGB"), mask=im.getchannel("A"))
    return base


def case(name, im, want, tolerance=0, bg=None, **save):
    im.save(f"{out}/{name}", **save)
    decode.append({"src": name, "want": value(want, True), "tolerance": tolerance, **({"background": bg} if bg else {})})


W, H = 16, 12
for mode in ["L", "RGB"]:
    im = picture(mode, W, H, 3)
    for ext in ["png", "bmp", "tif", "gif"] if mode == "L" else ["png", "bmp", "tif"]:
        case(f"{mode.lower()}.{ext}", im, im.convert("RGB"))
case("lzw.tif", picture("RGB", W, H, 4), picture("RGB", W, H, 4), compression="tiff_lzw")
case("deflate.tif", picture("RGB", W, H, 4), picture("RGB", W, H, 4), compression="tiff_adobe_deflate")
case("lossless.webp", picture("RGB", W, H, 5), picture("RGB", W, H, 5), lossless=True)
case("bilevel.png", picture("L", W, H, 6).convert("1"), picture("L", W, H, 6).convert("1").convert("RGB"))
for mode in ["LA", "RGBA"]:
    im = picture(mode, W, H, 7)
    case(f"{mode.lower()}.png", im, over(im, (255, 255, 255)))
case("rgba-dark.png", picture("RGBA", W, H, 8), over(picture("RGBA", W, H, 8), (10, 200, 30)), bg=[10, 200, 30])
pal = picture("RGB", W, H, 9).quantize(16)
case("palette.png", pal, pal.convert("RGB"))
pal.save(f"{out}/palette-alpha.gif", transparency=3)  # saving reorders the palette: read it back
back = over(Image.open(f"{out}/palette-alpha.gif"), (255, 255, 255))
decode.append({"src": "palette-alpha.gif", "want": value(back, True), "tolerance": 0})
smooth = picture("RGB", 2, 2).resize((W * 2, H * 2), Image.BICUBIC)
case("rgb.jpg", smooth, Image.open(io.BytesIO((smooth.save(b := io.BytesIO(), "jpeg", quality=95, subsampling=0), b.getvalue())[1])).convert("RGB"), 3, quality=95, subsampling=0)
case("grey.jpg", smooth.convert("L"), smooth.convert("L").convert("RGB"), 5, quality=95)
cm = smooth.convert("CMYK")
case("cmyk.jpg", cm, Image.open(io.BytesIO((cm.save(b := io.BytesIO(), "jpeg", quality=95), b.getvalue())[1])).convert("RGB"), 4, quality=95)
picture("RGB", W, H).save(f"{out}/lossy.webp", quality=80)
a, b = picture("RGB", W, H, 11), picture("RGB", W, H, 12)
a.save(f"{out}/animated.webp", save_all=True, append_images=[b], lossless=True)

json.dump({"generator": "tools/goldens/vision/generate.py", "pillow": PIL.__version__, "resize": resize, "decode": decode},
          open(f"{out}/golden.json", "w"), indent=0, sort_keys=True)
