"""Writes shards with Python's webdataset, and what its own reader makes of them, to core/data/shard/testdata.

    python tools/goldens/webdataset/generate.py

Needs webdataset, Pillow, numpy and pyarrow. The shards:

    written-000000.tar, written-000001.tar   ShardWriter: jpg, txt, cls, json; folders in keys, endings of several parts
    packed.tar.gz                            ShardWriter with compress
    img2dataset/00000.tar, 00001.tar         its layout: jpg, json, txt; tables and statistics beside; 00001 has no sample
    pictures.tar                             pictures of every awkward kind, good and broken ones
    odd.tar, pax.tar                         names: meta, folders, links, interleaved keys, dots, PAX and GNU headers
    golden.json                              per shard, the samples of webdataset's reader in their order
"""

import hashlib
import io
import json
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset as wds
from PIL import Image

OUT = os.path.join(os.path.dirname(__file__), "../../../core/data/shard/testdata")
MTIME = 1_700_000_000


def pixels(seed, w=24, h=16):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (h // 8, w // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)


def encode(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(seed, **options):
    return encode(pixels(seed), "JPEG", **({"quality": 80} | options))


def write(path, samples, **options):
    with wds.TarWriter(path, mtime=MTIME, **options) as sink:
        for sample in samples:
            sink.write(sample)


def written():
    pattern = os.path.join(OUT, "written-%06d.tar")
    with wds.ShardWriter(pattern, maxcount=6, verbose=0, mtime=MTIME) as sink:
        for i in range(10):
            key = f"{i:06d}" if i % 3 else f"part {i % 2}/{i:06d}"
            sink.write({"__key__": key, "jpg": jpeg(i), "txt": f"caption number {i} – Straße", "cls": i % 3,
                        "json": {"caption": f"other caption {i}", "tags": ["one", f"tag {i}"], "width": 24, "meta": {"alt": f"deep {i}"}},
                        "seg.png": encode(pixels(i).convert("L"), "PNG")})
    write(os.path.join(OUT, "packed.tar.gz"),
          [{"__key__": f"z{i}", "png": encode(pixels(50 + i), "PNG"), "txt": f"packed {i}"} for i in range(3)], compress=True)


def img2dataset():
    folder = os.path.join(OUT, "img2dataset")
    os.makedirs(folder, exist_ok=True)
    for shard, good in (("00000", [0, 2, 3]), ("00001", [])):
        rows, samples = [], []
        for i in range(5):
            key = f"{shard}{i:04d}"
            ok = i in good
            meta = {"caption": f"alt text {i}" if i != 3 else "", "url": f"https://example.org/{i}.jpg", "key": key,
                    "status": "success" if ok else "failed_to_download", "error_message": None if ok else "HTTP Error 404: Not Found",
                    "width": 24 if ok else None, "height": 16 if ok else None, "similarity": float("nan"), "exif": "{}" if ok else None,
                    "sha256": hashlib.sha256(jpeg(100 + i)).hexdigest() if ok else None}
            rows.append(meta)
            if ok:
                samples.append({"__key__": key, "jpg": jpeg(100 + i), "txt": meta["caption"], "json": json.dumps(meta, indent=4)})
        write(os.path.join(folder, shard + ".tar"), samples)
        pq.write_table(pa.Table.from_pylist(rows), os.path.join(folder, shard + ".parquet"))
        with open(os.path.join(folder, shard + "_stats.json"), "w") as f:
            json.dump({"count": 5, "successes": len(good), "failed_to_download": 5 - len(good), "failed_to_resize": 0, "status_dict": {"success": len(good)}}, f, indent=4)


def pictures():
    whole = jpeg(200)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [pixels(i) for i in (210, 211)]
    grey16 = np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 150
    members = {
        "a-good.jpg": whole, "b-empty.jpg": b"", "c-truncated.jpg": whole[:len(whole) // 2], "d-text.jpg": b"<html>404</html>",
        "e-cmyk.jpg": encode(pixels(201).convert("CMYK"), "JPEG"), "f-grey16.png": encode(Image.fromarray(grey16), "PNG"),
        "g-rotated.jpg": jpeg(202, exif=exif.tobytes()), "h-animated.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "i-animated.webp": encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "j-animated.png": encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "k-huge.png": encode(Image.new("1", (10000, 10000)), "PNG", optimize=True), "l-progressive.jpg": jpeg(203, progressive=True),
        "m-grey.jpg": encode(pixels(204).convert("L"), "JPEG"), "n-lossy.webp": encode(pixels(205), "WEBP", quality=80),
        "o-alpha.png": encode(pixels(206).convert("RGBA"), "PNG"), "p-silent.jpg": jpeg(207), "q-blank.jpg": jpeg(208), "r-latin.jpg": jpeg(209),
    }
    with tarfile.open(os.path.join(OUT, "pictures.tar"), "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            add(tar, name, data)
            base = name.split(".")[0]
            if base == "q-blank":
                add(tar, base + ".txt", b" \n")
            elif base == "r-latin":
                add(tar, base + ".txt", "Straße".encode("latin-1"))
            elif base != "p-silent":
                add(tar, base + ".txt", f"a picture of kind {base[2:]}".encode())


def add(tar, name, data, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), MTIME
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def odd():
    long = "deep/" * 30 + "leaf"
    with open(os.path.join(OUT, "odd.tar"), "wb") as f:
        with tarfile.open(fileobj=f, mode="w", format=tarfile.GNU_FORMAT) as tar:
            add(tar, "__meta__/info.json", b"{}")
            add(tar, "README", b"no ending")
            add(tar, "./dots/x.JPG", jpeg(300))
            add(tar, "./dots/x.Txt", b"capitals")
            tar.addfile(folder := tarfile.TarInfo("d/"), None)
            folder.type = tarfile.DIRTYPE
            add(tar, long + ".png", encode(pixels(301), "PNG"))
            add(tar, long + ".txt", b"a long name")
            add(tar, "link.jpg", b"", type=tarfile.SYMTYPE, linkname="a.jpg")
            add(tar, "link.txt", b"a link is no picture")
            add(tar, "../../etc/cat.jpg", jpeg(302))
            add(tar, "../../etc/cat.txt", b"outside")
            add(tar, "/abs/dog.jpg", jpeg(303))
            add(tar, "/abs/dog.txt", b"absolute")
            add(tar, "inter.jpg", jpeg(304))
            add(tar, "leaved.jpg", jpeg(305))
            add(tar, "inter.txt", b"too late")
            add(tar, "leaved.txt", b"too late")
            add(tar, "both.webp", encode(pixels(306), "WEBP", lossless=True))
            add(tar, "both.jpg", jpeg(307))
            add(tar, "both.txt", b"two pictures")
            add(tar, "none.txt", b"no picture")
            add(tar, "v1.5/cat.small.jpg", jpeg(308))
            add(tar, "v1.5/cat.jpg", jpeg(309))
            add(tar, "v1.5/cat.txt", b"dots in the folder")
    with tarfile.open(os.path.join(OUT, "pax.tar"), "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "for all"}) as tar:
        add(tar, "Ü" * 120 + "/猫.jpg", jpeg(310))
        add(tar, "Ü" * 120 + "/猫.txt", "eine Katze".encode())


def golden():
    out = {}
    names = ["written-000000.tar", "written-000001.tar", "packed.tar.gz", "img2dataset/00000.tar", "img2dataset/00001.tar", "pictures.tar", "odd.tar", "pax.tar"]
    for name in names:
        samples = []
        path = os.path.join(OUT, name)
        for sample in wds.WebDataset(path, shardshuffle=False, empty_check=False):
            samples.append({"key": sample["__key__"], "text": sample.get("txt", b"").decode("utf-8", "replace"),
                            "members": {k: hashlib.sha256(v).hexdigest()[:16] for k, v in sample.items() if not k.startswith("__")}})
        out[name] = samples
    with open(os.path.join(OUT, "golden.json"), "w") as f:
        json.dump({"webdataset": wds.__version__, "shards": out}, f, indent=1, ensure_ascii=False)
        f.write("\n")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    written()
    img2dataset()
    pictures()
    odd()
    golden()
