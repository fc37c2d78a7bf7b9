"""Goldens of core/media/vision's decoders: small files of every kind that Pillow reads. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pillow==13.0.0
    /tmp/venv/bin/python tools/goldens/vision/kinds.py core/media/vision/testdata/kinds.json

Each entry has the file, the digest of Pillow's convert("RGB") and of its paste over white with the alpha as a
mask, and whether core/media/vision reads the kind ("read") or refuses it. TIFFs that Pillow cannot write are made
byte by byte, and arithmetic JPEGs by jpegtran (Debian: libjpeg-turbo-progs).
"""
import base64, hashlib, io, json, struct, subprocess, sys, zlib
import PIL
from PIL import Image

out = []
W, H = 21, 14


def noise(n, salt=0):
    v, px = 99 + salt, bytearray()
    for i in range(n):
        v = (v * 1103515245 + 12345) & 0x7FFFFFFF
        px.append((v >> 16 & 255) if i // 9 % 3 else i * 7 & 255)
    return bytes(px)


def picture(mode, w=W, h=H, salt=0):
    return Image.frombytes(mode, (w, h), noise(w * h * len(Image.new(mode, (1, 1)).getbands()), salt))


def smooth(w=W, h=H, salt=0):
    return picture("RGB", 4, 3, salt).resize((w, h), Image.BICUBIC)


def sha(im):
    return hashlib.sha256(im.tobytes()).hexdigest()[:32]


def add(name, data, read=True):
    try:
        im = Image.open(io.BytesIO(data))
        im.load()
        rgb = im.convert("RGB")
        rgba = im.convert("RGBA") if "A" in im.convert("RGBA").getbands() and im.has_transparency_data else None
        white = rgb
        if rgba:
            white = Image.new("RGB", im.size, (255, 255, 255))
            white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    except Exception as e:
        if read:
            print("Pillow cannot read", name, e)
            return
        out.append({"name": name, "file": base64.b64encode(data).decode(), "read": False})
        return
    out.append({"name": name, "file": base64.b64encode(data).decode(), "read": read, "w": rgb.width, "h": rgb.height,
                "rgb": sha(rgb), "white": sha(white)})


def save(name, im, read=True, **options):
    im.save(b := io.BytesIO(), **options)
    add(name, b.getvalue(), read)


# TIFF, written here

def tiff(tags, parts, order="<", tiled=False, big=False):
    """tags: {tag: (type, values)}; parts: strips or tiles, packed."""
    tags = dict(tags)
    off = 16 if big else 8
    blob, offsets = b"", []
    for p in parts:
        offsets.append(off + len(blob))
        blob += p + b"\0" * (len(p) % 2)
    tags[324 if tiled else 273] = (4, offsets)
    tags[325 if tiled else 279] = (4, [len(p) for p in parts])
    code = {1: "B", 3: "H", 4: "I", 16: "Q"}
    size = {1: 1, 3: 2, 4: 4, 7: 1, 16: 8}
    word = "Q" if big else "I"
    inline = 8 if big else 4
    entries, extra = b"", b""
    start = off + len(blob)
    table = start + ((8 + 20 * len(tags) + 8) if big else (2 + 12 * len(tags) + 4))
    for tag in sorted(tags):
        kind, values = tags[tag]
        raw = values if kind == 7 else struct.pack(order + code[kind] * len(values), *values)
        n = len(raw) // size[kind]
        if len(raw) <= inline:
            field = raw.ljust(inline, b"\0")
        else:
            field = struct.pack(order + word, table + len(extra))
            extra += raw + b"\0" * (len(raw) % 2)
        entries += struct.pack(order + "HH" + word, tag, kind, n) + field
    head = (b"II" if order == "<" else b"MM") + (struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start))
    ifd = (struct.pack(order + "Q", len(tags)) + entries + b"\0" * 8) if big else (struct.pack(order + "H", len(tags)) + entries + b"\0" * 4)
    return head + blob + ifd + extra


def basic(bits, photometric, samples=1, packing=1, **more):
    t = {256: (3, [more.pop("w", W)]), 257: (3, [more.pop("h", H)]), 258: (3, [bits] * samples), 259: (3, [packing]), 262: (3, [photometric]),
         277: (3, [samples]), 278: (3, [more.pop("rows", H)])}
    for k, v in more.items():
        t[int(k[1:])] = v
    return t


def rows(bits, samples=1, salt=0, w=W, h=H):
    return noise((w * bits * samples + 7) // 8 * h, salt)


def packbits(data):
    o = b""
    for i in range(0, len(data), 100):
        o += bytes([len(data[i:i + 100]) - 1]) + data[i:i + 100]
    return o


def reverse(data):
    return bytes(int(f"{b:08b}"[::-1], 2) for b in data)


palette = lambda bits: (3, [v * 257 for v in noise(3 << bits, 5)])
for bits in (1, 2, 4, 8):
    for photo in (0, 1):
        add(f"tiff {bits}-bit grey, photometric {photo}", tiff(basic(bits, photo), [rows(bits)]))
        add(f"tiff {bits}-bit grey, photometric {photo}, fill order 2", tiff(basic(bits, photo, t266=(3, [2])), [rows(bits)]))
        add(f"tiff {bits}-bit grey, photometric {photo}, deflate", tiff(basic(bits, photo, packing=8), [zlib.compress(rows(bits))]))
        add(f"tiff {bits}-bit grey, photometric {photo}, packbits", tiff(basic(bits, photo, packing=32773), [packbits(rows(bits))]))
    add(f"tiff {bits}-bit palette", tiff(basic(bits, 3, t320=palette(bits)), [rows(bits)]))
    add(f"tiff {bits}-bit palette, deflate, big endian", tiff(basic(bits, 3, packing=8, t320=palette(bits)), [zlib.compress(rows(bits))], ">"))
for order in "<>":
    for extra in (None, 0, 1, 2):
        n = 3 if extra is None else 4
        e = {} if extra is None else {"t338": (3, [extra])}
        for bits in (8, 16):
            add(f"tiff {order} RGB {bits}-bit, extra {extra}", tiff(basic(bits, 2, n, **e), [rows(bits, n)], order))
            add(f"tiff {order} RGB {bits}-bit, extra {extra}, deflate", tiff(basic(bits, 2, n, 8, **e), [zlib.compress(rows(bits, n))], order))
    add(f"tiff {order} RGB five samples", tiff(basic(8, 2, 5, t338=(3, [2, 0])), [rows(8, 5)], order))
    add(f"tiff {order} CMYK", tiff(basic(8, 5, 4), [rows(8, 4)], order))
    add(f"tiff {order} CMYK 16-bit", tiff(basic(16, 5, 4), [rows(16, 4)], order))
    add(f"tiff {order} grey 16-bit, small values", tiff(basic(16, 1), [b"".join(struct.pack(order + "H", v) for v in noise(W * H))], order))
    add(f"tiff {order} grey 16-bit", tiff(basic(16, 1), [rows(16)], order), False)
    add(f"tiff {order} RGB 8-bit, BigTIFF", tiff(basic(8, 2, 3), [rows(8, 3)], order, big=True))
    add(f"tiff {order} signed 16-bit", tiff(basic(16, 1, t339=(3, [2])), [rows(16)], order), False)
    add(f"tiff {order} float", tiff(basic(32, 1, t339=(3, [3])), [struct.pack(order + "294f", *noise(294))], order), False)
    # a predictor of 16 bits
    vals = [list(struct.unpack("<63H", noise(126, y))) for y in range(H)]
    diff = b"".join(struct.pack(order + "63H", *[(r[i] - (r[i - 3] if i > 2 else 0)) & 65535 for i in range(63)]) for r in vals)
    add(f"tiff {order} RGB 16-bit, deflate with a predictor", tiff(basic(16, 2, 3, 8, t317=(3, [2])), [zlib.compress(diff)], order))
add("tiff grey 12-bit, small values", tiff(basic(12, 1, w=20), [bytes([0, 0x10, 7] * (10 * H))]))
add("tiff grey 12-bit", tiff(basic(12, 1), [rows(12)]), False)
add("tiff grey with alpha", tiff(basic(8, 1, 2, t338=(3, [2])), [rows(8, 2)]))
add("tiff grey with an unknown sample", tiff(basic(8, 1, 2, t338=(3, [0])), [rows(8, 2)]))
add("tiff palette with alpha", tiff(basic(8, 3, 2, t338=(3, [2]), t320=palette(8)), [rows(8, 2)]))
add("tiff Lab", tiff(basic(8, 8, 3), [rows(8, 3)]), False)
add("tiff YCbCr unpacked", tiff(basic(8, 6, 3), [rows(8, 3)]), False)
add("tiff grey, strips of 5 rows", tiff(basic(8, 1, rows=5), [noise(W * 5, 1), noise(W * 5, 2), noise(W * 4, 3)]))
add("tiff RGB, planes", tiff(basic(8, 2, 3, t284=(3, [2])), [noise(W * H, i) for i in range(3)]))
add("tiff RGB, planes, deflate, strips", tiff(basic(8, 2, 3, 8, rows=7, t284=(3, [2])), [zlib.compress(noise(W * 7, i)) for i in range(6)]))
for packing in (1, 8):
    pack = zlib.compress if packing == 8 else lambda b: b
    t = basic(8, 2, 3, packing, t322=(3, [16]), t323=(3, [16]))
    del t[278]
    add(f"tiff RGB, tiles, packing {packing}", tiff(t, [pack(noise(768, 1)), pack(noise(768, 2))], tiled=True))
    t = basic(8, 1, 1, packing, t322=(3, [16]), t323=(3, [16]), h=40)
    del t[278]
    add(f"tiff grey, tiles, packing {packing}", tiff(t, [pack(noise(256, i)) for i in range(6)], tiled=True))
for o in range(1, 9):
    add(f"tiff orientation {o}", tiff(basic(8, 2, 3, t274=(3, [o])), [rows(8, 3)]))
    add(f"tiff orientation {o}, deflate", tiff(basic(8, 2, 3, 8, t274=(3, [o])), [zlib.compress(rows(8, 3))]))
page = Image.new("1", (60, 44), 1)
page.paste(0, (13, 9, 37, 31))
page.paste(1, (20, 12, 23, 15))
for pack in ("group3", "group4", "tiff_ccitt"):
    page.save(b := io.BytesIO(), "tiff", compression=pack)
    add(f"tiff {pack}", b.getvalue(), pack != "tiff_ccitt")
    data = bytearray(b.getvalue())
    at = data.find(struct.pack("<HHI", 262, 3, 1))  # the other polarity of the same bits
    data[at + 8] ^= 1
    add(f"tiff {pack}, other photometric", bytes(data), pack != "tiff_ccitt")
for pack in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA"):
        im = picture("L", salt=4).convert(mode) if mode in "1P" else picture(mode, salt=4)
        save(f"tiff {mode} {pack}", im, format="tiff", compression=pack)
    save(f"tiff {pack} with a predictor", picture("RGB", salt=6), format="tiff", compression=pack, tiffinfo={317: 2})
for pack in ("jpeg", "lzma", "zstd", "webp"):
    for mode in ("L", "RGB"):
        try:
            save(f"tiff {pack} {mode}", smooth(37, 29).convert(mode), pack == "jpeg", format="tiff", compression=pack)
        except Exception as e:
            print("cannot write", pack, e)
save("tiff of two pages", picture("RGB"), format="tiff", save_all=True, append_images=[picture("RGB", salt=1)])

# PNG

for mode in ("1", "L", "LA", "RGB", "RGBA", "P"):
    im = picture("L", salt=2).convert(mode) if mode in "1P" else picture(mode, salt=2)
    save(f"png {mode}", im, format="png")


def png(w, h, depth, kind, lines, extra=b"", interlace=0):
    chunk = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace)) + extra
            + chunk(b"IDAT", zlib.compress(lines)[:11]) + chunk(b"IDAT", zlib.compress(lines)[11:]) + chunk(b"IEND", b""))


def chunk(t, d):
    return struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))


def png_rows(w, h, bits, salt=0):
    return b"".join(bytes([y % 5]) + noise((w * bits + 7) // 8, salt + y) for y in range(h))


def adam7(w, h, bits):
    o = b""
    for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        pw, ph = (w - x + dx - 1) // dx, (h - y + dy - 1) // dy
        if pw > 0 and ph > 0:
            o += png_rows(pw, ph, bits, x + y)
    return o


for depth, kind, ch in [(1, 0, 1), (2, 0, 1), (4, 0, 1), (8, 0, 1), (8, 2, 3), (16, 2, 3), (1, 3, 1), (2, 3, 1), (4, 3, 1), (8, 3, 1),
                        (8, 4, 2), (16, 4, 2), (8, 6, 4), (16, 6, 4), (16, 0, 1)]:
    plte = chunk(b"PLTE", noise(3 << depth, 8)) if kind == 3 else b""
    for w, h in ((W, H), (3, 2), (1, 1)):
        add(f"png {w}x{h} {depth}-bit of type {kind}", png(w, h, depth, kind, png_rows(w, h, depth * ch), plte), (depth, kind) != (16, 0) or w == 1)
        add(f"png {w}x{h} {depth}-bit of type {kind}, interlaced", png(w, h, depth, kind, adam7(w, h, depth * ch), plte, 1), (depth, kind) != (16, 0) or w == 1)
    if kind == 3:
        add(f"png {depth}-bit palette with alpha", png(W, H, depth, 3, png_rows(W, H, depth), plte + chunk(b"tRNS", noise(1 << depth, 3))))
add("png grey 16-bit, small values", png(W, 1, 16, 0, b"\0" + b"".join(struct.pack(">H", v) for v in noise(W))))
add("png grey with a transparent value", png(W, H, 8, 0, png_rows(W, H, 8), chunk(b"tRNS", b"\0\x07")))
add("png RGB with a transparent colour", png(2, 1, 8, 2, bytes([0, 9, 8, 7, 1, 2, 3]), chunk(b"tRNS", b"\0\x09\0\x08\0\x07")))
save("png animated", picture("RGB"), format="png", save_all=True, append_images=[picture("RGB", salt=1)])
save("png animated, a first picture apart", picture("RGB"), format="png", save_all=True, default_image=True, append_images=[picture("RGB", salt=1)])

# GIF

save("gif L", picture("L"), format="gif")
save("gif interlaced", picture("L").convert("P"), format="gif", interlace=1)
save("gif not interlaced", picture("RGB").quantize(64), format="gif", interlace=0)
save("gif transparent", picture("RGB").quantize(32), format="gif", transparency=5)
save("gif animated", picture("RGB").quantize(16), format="gif", save_all=True, append_images=[picture("RGB", salt=1).quantize(16)], disposal=2)


def gif(screen, frame, colours, local=None, transparent=None, background=0, interlace=0):
    picture("RGB", frame[2], frame[3]).quantize(8).save(b := io.BytesIO(), "gif", interlace=interlace)
    data = b.getvalue()
    n = 3 << ((data[10] & 7) + 1)
    rest = data[13 + n:]
    at = rest.index(b",")
    body = rest[at + 10:]
    o = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x82 if colours else 0, background, 0) + (colours or b"")
    if transparent is not None:
        o += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    o += b"," + struct.pack("<HHHHB", *frame, (0x82 if local else 0) | interlace << 6) + (local or b"")
    return o + body


glob, loc = noise(24, 1), noise(24, 2)
grey = bytes(v for i in range(8) for v in (i, i, i))
for tr in (None, 3):
    for back in (0, 4):
        add(f"gif frame smaller than its screen, transparent {tr}, background {back}", gif((30, 20), (4, 3, 12, 9), glob, None, tr, back))
        add(f"gif frame smaller than its screen, own palette, transparent {tr}, background {back}", gif((30, 20), (4, 3, 12, 9), glob, loc, tr, back))
    add(f"gif frame larger than its screen, transparent {tr}", gif((8, 6), (4, 3, 12, 9), glob, None, tr))
    add(f"gif without palette, transparent {tr}", gif((20, 14), (2, 3, 12, 9), None, None, tr))
    add(f"gif with a grey palette, transparent {tr}", gif((20, 14), (2, 3, 12, 9), grey, None, tr))
    add(f"gif interlaced small frame, transparent {tr}", gif((30, 20), (4, 3, 12, 9), glob, loc, tr, 0, 1))

# BMP

for mode in ("1", "L", "P", "RGB", "RGBA"):
    im = picture("L").convert(mode) if mode in "1P" else picture(mode)
    save(f"bmp {mode}", im, format="bmp")


def bmp(bits, pixels, packing=0, size=40, masks=b"", colours=b"", h=H, w=W):
    head = struct.pack("<IiiHHIIiiII", size, w, h, 1, bits, packing, len(pixels), 0, 0, len(colours) // 4, 0)
    if size > 40:
        head += masks.ljust(size - 40, b"\0")
        masks = b""
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(masks) + len(colours) + len(pixels), 0, 0, 14 + len(head) + len(masks) + len(colours)) + head + masks + colours + pixels


def bmp_rows(bits, h=H, w=W):
    return noise((w * bits + 31) // 32 * 4 * h)


m = lambda *v: struct.pack("<" + "I" * len(v), *v)
for bits in (1, 4, 8):
    add(f"bmp {bits}-bit", bmp(bits, bmp_rows(bits), colours=noise(4 << bits, 2)))
    add(f"bmp {bits}-bit, top down", bmp(bits, bmp_rows(bits), colours=noise(4 << bits, 2), h=-H))
add("bmp 24-bit, top down", bmp(24, bmp_rows(24), h=-H))
add("bmp 16-bit", bmp(16, bmp_rows(16)))
add("bmp 16-bit 565", bmp(16, bmp_rows(16), 3, masks=m(0xF800, 0x7E0, 0x1F)))
add("bmp 16-bit 555 by masks", bmp(16, bmp_rows(16), 3, masks=m(0x7C00, 0x3E0, 0x1F)))
add("bmp 32-bit", bmp(32, bmp_rows(32)))
add("bmp 32-bit by masks", bmp(32, bmp_rows(32), 3, masks=m(0xFF0000, 0xFF00, 0xFF)))
add("bmp 32-bit with alpha, version 5", bmp(32, bmp_rows(32), 3, 124, m(0xFF0000, 0xFF00, 0xFF, 0xFF000000)))
add("bmp 32-bit, version 4, unpacked", bmp(32, bmp_rows(32), 0, 108, m(0xFF0000, 0xFF00, 0xFF, 0xFF000000)))
add("bmp 32-bit, version 3", bmp(32, bmp_rows(32), 3, 56, m(0xFF0000, 0xFF00, 0xFF, 0xFF000000)))
add("bmp 32-bit, other masks", bmp(32, bmp_rows(32), 3, masks=m(0xFF, 0xFF00, 0xFF0000)), False)
add("bmp run-length 8", bmp(8, b"".join(bytes([W, y * 7, 0, 0]) for y in range(H)) + b"\0\1", 1, colours=noise(1024, 2)), False)
add("bmp of OS/2", b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, W, H, 1, 24) + bmp_rows(24))

# PNM

plain = lambda n, most, salt=0: " ".join(str(v * 31 % (most + 1)) for v in noise(n, salt)).encode()
add("pbm plain", b"P1\n# a comment\n21 14\n" + "".join(str(v & 1) for v in noise(W * H)).encode() + b"\n")
add("pbm", b"P4 21 14\n" + noise(3 * H))
for most in (255, 100, 7, 1):
    add(f"pgm plain, maximum {most}", b"P2\n21 14 %d\n" % most + plain(W * H, most) + b"\n")
    add(f"pgm, maximum {most}", b"P5\n# x\n21 14\n%d\n" % most + bytes(v % (most + 1) for v in noise(W * H)))
    add(f"ppm plain, maximum {most}", b"P3\n21 14\n%d " % most + plain(3 * W * H, most))
    add(f"ppm, maximum {most}", b"P6 21 14 %d\n" % most + bytes(v % (most + 1) for v in noise(3 * W * H)))
for most in (65535, 1023, 256):
    add(f"ppm of 16 bits, maximum {most}", b"P6 21 14 %d\n" % most + b"".join(struct.pack(">H", v * 257 % (most + 1)) for v in noise(3 * W * H)))
    add(f"pgm of 16 bits, maximum {most}", b"P5 21 14 %d\n" % most + b"".join(struct.pack(">H", v * 257 % (most + 1)) for v in noise(W * H)), most == 256)
add("pam", b"P7\nWIDTH 21\nHEIGHT 14\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + noise(3 * W * H), False)

# WebP

n = 0
for w, h in [(1, 1), (2, 1), (1, 2), (3, 3), (16, 16), (17, 15), (33, 50), (64, 40)]:
    for q in (5, 60, 95):
        for method in (0, 4, 6):
            n += 1
            save(f"webp lossy {w}x{h} quality {q} method {method}", smooth(w, h, n), format="webp", quality=q, method=method)
save("webp lossy noise", picture("RGB", 70, 50), format="webp", quality=90)
save("webp lossy grey", picture("L", 40, 33), format="webp", quality=70)
for w, h in [(1, 1), (20, 13), (47, 50)]:
    for aq in (100, 50):
        im = smooth(w, h)
        im.putalpha(picture("L", 5, 4, aq).resize((w, h)))
        save(f"webp lossy with alpha {w}x{h} {aq}", im, format="webp", quality=70, alpha_quality=aq)
        save(f"webp lossless with alpha {w}x{h} {aq}", im, format="webp", lossless=True, exact=aq == 100)
save("webp lossless", picture("RGB"), format="webp", lossless=True)
save("webp animated lossy", smooth(40, 30), format="webp", save_all=True, append_images=[smooth(40, 30, 1)])
save("webp animated lossless", picture("RGB"), format="webp", save_all=True, append_images=[picture("RGB", salt=1)], lossless=True)
a = Image.new("RGBA", (40, 30))
a.paste(smooth(11, 9).convert("RGBA"), (13, 8))
save("webp animated with a small frame", a, format="webp", save_all=True, append_images=[smooth(40, 30).convert("RGBA")], quality=80, minimize_size=True)

# JPEG

for mode in ("L", "RGB", "CMYK"):
    for sub in ("4:4:4", "4:2:2", "4:2:0") if mode == "RGB" else ("4:4:4",):
        for progressive in (False, True):
            smooth(37, 29).convert(mode).save(b := io.BytesIO(), "jpeg", quality=85, subsampling=sub, progressive=progressive)
            name = f"jpeg {mode} {sub}{', progressive' if progressive else ''}"
            add(name, b.getvalue())
            if mode != "CMYK":
                command = ["jpegtran", "-arithmetic"] + ["-progressive"] * progressive
                add(name + ", arithmetic", subprocess.run(command, input=b.getvalue(), capture_output=True, check=True).stdout)
smooth(8, 8).save(b := io.BytesIO(), "jpeg")
start = b.getvalue().index(b"\xff\xc0")
add("jpeg of 12 bits", b.getvalue()[:start + 4] + b"\x0c" + b.getvalue()[start + 5:], False)
add("jpeg, hierarchical", b.getvalue()[:start] + b"\xff\xc5" + b.getvalue()[start + 2:], False)

# kinds that are refused by name

try:
    save("avif", smooth(), False, format="avif")
except Exception as e:
    print("no avif", e)
save("jpeg 2000", smooth(), False, format="jpeg2000")
save("ico", smooth(16, 16), False, format="ico")
save("qoi", smooth(), False, format="qoi")

json.dump({"generator": "tools/goldens/vision/kinds.py", "pillow": PIL.__version__, "kinds": out}, open(sys.argv[1], "w"), indent=0)
print(len(out), "files")
