"""Goldens of core/media/vision on photographs, made with OpenCLIP's own transforms. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install open_clip_torch==3.3.0 pillow==12.3.0
    /tmp/venv/bin/pip download --no-deps -d /tmp/venv scikit-image==0.25.2
    /tmp/venv/bin/python -m zipfile -e /tmp/venv/scikit_image-*.whl /tmp/venv/wheel
    /tmp/venv/bin/python tools/goldens/vision/photos.py /tmp/venv/wheel/skimage/data

It writes core/media/vision/testdata/photos (pictures, wanted results as PNG, photos.json) and
core/engine/device/devices/testdata/normalize.json. The photographs are in the public domain or CC0
(THIRD_PARTY.md); they are cut and scaled here, and the wanted results are of the files so made.
With --check, it only says how far the Pillow at hand is from the goldens.
"""
import hashlib, io, json, os, sys
import numpy as np
import PIL
from PIL import Image
from open_clip.transform import PreprocessCfg, image_transform, image_transform_v2
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resized_crop

DATA, OUT = sys.argv[1], "core/media/vision/testdata/photos"


def photo(name, box, size=None):
    im = Image.open(f"{DATA}/{name}").convert("RGB").crop(box)
    return im.resize(size, Image.BICUBIC) if size else im


def patched(data, old, new):
    assert data.count(old) == 1
    return data.replace(old, new)


def pictures():
    """File name → bytes. Sizes are odd where blocks of 8 and 16 shall not fit."""
    def encode(im, **save):
        im.save(b := io.BytesIO(), **save)
        return b.getvalue()

    def jpeg(im, sampling, quality=88, **save):
        return encode(im, format="jpeg", quality=quality, subsampling=sampling, **save)

    astronaut = photo("astronaut.png", (120, 0, 392, 230), (136, 115))
    coffee = photo("coffee.png", (60, 30, 540, 360), (120, 83))
    rocket = photo("rocket.jpg", (150, 40, 377, 341))
    hubble = photo("hubble_deep_field.jpg", (500, 300, 671, 455))
    retina = photo("retina.jpg", (300, 250, 1103, 1053), (161, 161))
    cup = photo("coffee.png", (180, 60, 500, 320), (211, 171))
    face = photo("astronaut.png", (160, 10, 337, 207))
    cmyk = jpeg(face.resize((71, 79), Image.BICUBIC).convert("CMYK"), 0)
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
    return {
        "astronaut.png": encode(astronaut, format="png", optimize=True),
        "coffee.png": encode(coffee, format="png", optimize=True),
        "hubble-grey.png": encode(hubble.convert("L"), format="png", optimize=True),
        "rocket-420.jpg": jpeg(rocket, "4:2:0"),
        "cup-422.jpg": jpeg(cup, "4:2:2"),
        "face-444.jpg": jpeg(face, "4:4:4"),
        "hubble-420-progressive.jpg": jpeg(hubble, "4:2:0", progressive=True, optimize=True),
        "cup-422-progressive-restarts.jpg": jpeg(cup, "4:2:2", 60, progressive=True, restart_marker_rows=2),
        "face-420-low.jpg": jpeg(face, "4:2:0", 12, restart_marker_blocks=3),
        "retina-grey.jpg": jpeg(retina.convert("L"), 0),
        "face-cmyk.jpg": cmyk,
        # Pillow writes no YCCK: the marker alone makes one, of other colours.
        "face-ycck.jpg": patched(cmyk, adobe + b"\x00", adobe + b"\x02"),
        "face-rgb.jpg": jpeg(face.resize((61, 67), Image.BICUBIC), "4:4:4", keep_rgb=True),
        "thin-420.jpg": jpeg(cup.crop((40, 40, 45, 63)), "4:2:0"),
        "flat-422.jpg": jpeg(cup.crop((40, 40, 71, 43)), "4:2:2"),
        "one-420.jpg": jpeg(cup.crop((40, 40, 41, 41)), "4:2:0"),
    }


def u8(tensor, size):
    """The transform's pixels before ToTensor: normalisation undone, exactly."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    x = tensor.numpy().transpose(1, 2, 0).astype(np.float64) * OPENAI_DATASET_STD + OPENAI_DATASET_MEAN
    back = np.rint(x * 255)
    assert back.shape == (size, size, 3) and abs(x * 255 - back).max() < 1e-3
    return Image.fromarray(back.astype(np.uint8))


def evaluate(im, size):
    got = u8(image_transform(size, is_train=False)(im), size)
    v2 = u8(image_transform_v2(PreprocessCfg(size=size), is_train=False)(im), size)
    assert got.tobytes() == v2.tobytes()
    return got


def cases(files):
    """(source, box or None, size) and the wanted pixels."""
    big = ["astronaut.png", "coffee.png", "hubble-grey.png", "rocket-420.jpg", "cup-422.jpg", "face-444.jpg",
           "hubble-420-progressive.jpg", "face-420-low.jpg", "retina-grey.jpg", "face-cmyk.jpg"]
    todo = [(name, None, 64) for name in big] + [("rocket-420.jpg", None, 224)] + [
        ("coffee.png", (7, 11, 61, 55), 64), ("rocket-420.jpg", (13, 90, 171, 160), 64), ("cup-422.jpg", (0, 0, 211, 171), 48)]
    for name, box, size in todo:
        # RGB first, as webdataset's "pilrgb" does: a CMYK picture scaled as CMYK would differ.
        im = Image.open(io.BytesIO(files[name])).convert("RGB")
        if box:
            x, y, w, h = box  # what RandomResizedCrop does with the box that it drew
            want = resized_crop(im, y, x, h, w, [size, size], InterpolationMode.BICUBIC, antialias=True)
        else:
            want = evaluate(im, size)
        yield name, box, size, want


def main():
    check = "--check" in sys.argv
    os.makedirs(OUT, exist_ok=True)
    if check:
        files = {n: open(f"{OUT}/{n}", "rb").read() for n in json.load(open(f"{OUT}/photos.json"))["pixels"]}
    else:
        files = pictures()
    pixels = {n: hashlib.sha256(Image.open(io.BytesIO(d)).convert("RGB").tobytes()).hexdigest() for n, d in files.items()}
    transforms = []
    for name, box, size, want in cases(files):
        file = f"want-{name.rsplit('.', 1)[0]}-{'box-' if box else ''}{size}.png"
        if check:
            d = np.abs(np.asarray(want).astype(int) - np.asarray(Image.open(f"{OUT}/{file}")).astype(int))
            print(f"{file}: max {d.max()}, mean {d.mean():.4f}")
            continue
        want.save(f"{OUT}/{file}", optimize=True)
        transforms.append({"src": name, "box": box, "size": size, "want": file})
    if check:
        print("pixels equal:", pixels == json.load(open(f"{OUT}/photos.json"))["pixels"], PIL.__version__)
        return
    for name, data in files.items():
        open(f"{OUT}/{name}", "wb").write(data)
    json.dump({"generator": "tools/goldens/vision/photos.py", "pillow": PIL.__version__, "open_clip": "3.3.0",
               "pixels": pixels, "transforms": transforms}, open(f"{OUT}/photos.json", "w"), indent=1)
    grey = Image.frombytes("L", (16, 16), bytes(range(256))).convert("RGB")
    table = image_transform(16, is_train=False)(grey).numpy().reshape(3, 256)
    os.makedirs("core/engine/device/devices/testdata", exist_ok=True)
    with open("core/engine/device/devices/testdata/normalize.json", "w") as f:
        json.dump([[float(str(v)) for v in row] for row in table], f)


main()
