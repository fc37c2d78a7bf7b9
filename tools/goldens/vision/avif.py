"""Goldens of AVIF for core/media/vision, made with Pillow and libavif's avifenc. From the repository root:

    apt-get install libavif-bin
    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pillow==13.0.0
    /tmp/venv/bin/python tools/goldens/vision/avif.py core/media/vision/testdata/avif.json

Each file has the digests of Pillow's convert("RGB") and of a paste over white.
"""
import base64, hashlib, io, json, subprocess, sys, tempfile
import PIL
from PIL import Image, features

photo = Image.open("core/media/vision/testdata/photos/astronaut.png").convert("RGB")
out = {"generator": "tools/goldens/vision/avif.py", "pillow": PIL.__version__, "libavif": features.version("avif"), "kinds": []}


def sha(im):
    return hashlib.sha256(im.tobytes()).hexdigest()[:32]


def add(name, data, read=True):
    im = Image.open(io.BytesIO(data))
    im.load()
    rgb = im.convert("RGB")
    white = Image.new("RGB", im.size, (255, 255, 255))
    white.paste(rgb, mask=im.convert("RGBA").getchannel("A"))
    out["kinds"].append({"name": name, "file": base64.b64encode(data).decode(), "read": read, "w": im.width, "h": im.height, "rgb": sha(rgb), "white": sha(white)})


def pillow(name, im, **options):
    b = io.BytesIO()
    im.save(b, "AVIF", **options)
    add(name, b.getvalue())


def avifenc(name, im, *options, read=True):
    with tempfile.TemporaryDirectory() as d:
        im.save(d + "/in.png")
        subprocess.run(["avifenc", "-j", "1", *options, d + "/in.png", d + "/out.avif"], check=True, capture_output=True)
        add(name, open(d + "/out.avif", "rb").read(), read)


def alpha(im):
    im = im.copy()
    im.putalpha(im.convert("L").point(lambda v: 0 if v < 40 else 255 if v > 200 else v))
    return im


sizes = [(64, 48), (61, 37), (1, 1), (2, 1), (33, 40)]
for ss in ["4:2:0", "4:2:2", "4:4:4", "4:0:0"]:
    for w, h in sizes:
        for limits in ["full", "limited"]:
            pillow(f"avif {ss} {w} × {h} {limits}", photo.resize((w, h)), subsampling=ss, quality=70, range=limits)
small = photo.resize((37, 29))
pillow("avif best", small, quality=100, subsampling="4:4:4")
pillow("avif coarse", small, quality=5)
pillow("avif grey", small.convert("L"))
for ss in ["4:2:0", "4:4:4"]:
    pillow(f"avif alpha {ss}", alpha(small), subsampling=ss)
pillow("avif grey and alpha", alpha(small).convert("LA"))
pillow("avif animation", small, save_all=True, append_images=[small.rotate(90)], duration=100)
pillow("avif animation with alpha", alpha(small), save_all=True, append_images=[alpha(small).rotate(90)], duration=100)
exif = Image.Exif()
exif[0x112] = 6
pillow("avif turned by EXIF", small, exif=exif)
for depth in ["10", "12"]:
    for ss in ["420", "444", "400"]:
        for limits in ["full"]:
            avifenc(f"avif {depth} bits {ss} {limits}", small, "-d", depth, "-y", ss, "-r", limits, read=False)
    avifenc(f"avif {depth} bits, alpha", alpha(small), "-d", depth, read=False)
for matrix, note in [("0", "identity"), ("1", "BT.709"), ("9", "BT.2020"), ("8", "YCgCo")]:
    avifenc(f"avif {note}", small, "--cicp", f"1/13/{matrix}", "-y", "444")
    if matrix not in "0":
        avifenc(f"avif {note}, 4:2:0", small, "--cicp", f"1/13/{matrix}", "-y", "420")
avifenc("avif lossless", small, "--lossless")
avifenc("avif premultiplied", alpha(small), "--premultiply")
avifenc("avif turned", small, "--irot", "1")
avifenc("avif mirrored", small, "--imir", "0")
avifenc("avif grid", photo.resize((128, 64)), "--grid", "2x1")
json.dump(out, open(sys.argv[1], "w"), indent=0)
