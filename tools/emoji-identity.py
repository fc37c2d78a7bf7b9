#!/usr/bin/env python3
"""Identity from one style of emoji to another: is the picture of the same emoji the nearest in the other style?

Usage: emoji-identity.py lists ROOT FROM TO OUT            writes OUT-FROM.txt and OUT-TO.txt: the pictures, an emoji a line
       emoji-identity.py pixels OUT-FROM.txt OUT-TO.txt     the nearest by 16 x 16 pixels of RGB
       emoji-identity.py features FROM.safetensors TO.safetensors [FROM.txt]
                                                           the nearest by what `runner embed --images` wrote of both lists;
                                                           with a list, only of its pictures, among all of the others

ROOT is what `runner data get emoji` fills; FROM and TO are google, twitter or fluent. The emoji are those of the dataset
emoji that both styles have: no flags, no components, no skin tones. The whole way:

    tools/emoji-identity.py lists ~/.local/share/tandem/emoji fluent google /tmp/id
    tools/emoji-identity.py pixels /tmp/id-fluent.txt /tmp/id-google.txt
    runner embed --run RUN --images /tmp/id-fluent.txt --out /tmp/fluent.safetensors
    runner embed --run RUN --images /tmp/id-google.txt --out /tmp/google.safetensors
    tools/emoji-identity.py features /tmp/fluent.safetensors /tmp/google.safetensors

Needs numpy, and for pixels Pillow.
"""
import json
import os
import struct
import sys

import numpy as np


def plain(code):
    """A hex sequence without variation selectors, on which the packages disagree."""
    return os.path.splitext(os.path.basename(code))[0].upper().replace("-FE0F", "")


def lists(root, source, target, out):
    read = lambda path: json.load(open(os.path.join(root, path), encoding="utf-8"))
    groups = read("emojibase-data/meta/groups.json")["groups"]
    pictures = {plain(p["unified"]): p["image"] for p in read("emoji-datasource-google/emoji.json") if p["has_img_google"] and p["has_img_twitter"]}
    fluent = os.path.join(root, "fluent-emoji-3d", "assets")
    shaded = {plain(f): os.path.join(fluent, f) for f in os.listdir(fluent)}

    def picture(style, code):
        if style == "fluent":
            return shaded.get(code)
        return os.path.join(root, "emoji-datasource-" + style, "img", style, "64", pictures[code])

    found = {source: [], target: []}
    for e in read("emojibase-data/en/data.json"):
        code = plain(e["hexcode"])
        if e.get("group") is None or e.get("subgroup") is None or groups[str(e["group"])] in ("component", "flags") or code not in pictures:
            continue
        paths = {style: picture(style, code) for style in found}
        if all(paths.values()):
            for style, path in paths.items():
                found[style].append(path)
    for style, paths in found.items():
        with open(f"{out}-{style}.txt", "w", encoding="utf-8") as f:
            f.writelines(path + "\n" for path in paths)
    print(f"{len(found[source])} emoji")


def features(file):
    """Features by hex sequence, of what runner embed wrote."""
    data = open(file, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    entry = header["image_features"]
    begin, end = entry["data_offsets"]
    rows = np.frombuffer(data[8 + size + begin:8 + size + end], np.float32).reshape(entry["shape"])
    return dict(zip(map(plain, json.loads(header["__metadata__"]["images"])), rows))


def pixels(file):
    from PIL import Image
    out = {}
    for path in open(file, encoding="utf-8").read().split("\n"):
        if path:
            picture = Image.open(path).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            small = Image.alpha_composite(white, picture).convert("RGB").resize((16, 16), Image.BOX)
            out[plain(path)] = np.asarray(small, np.float32).ravel() / 255
    return out


def compare(queries, gallery, similarity):
    names = list(gallery)
    scores = similarity(np.stack(list(queries.values())), np.stack([gallery[n] for n in names]))
    place = {n: i for i, n in enumerate(names)}
    right = scores[np.arange(len(queries)), [place[q] for q in queries]]
    rank = (scores > right[:, None]).sum(1) + ((scores == right[:, None]).sum(1) - 1) / 2  # ties half the way
    recall = lambda k: f"R@{k} {100 * np.mean(rank < k):.1f} %"
    print(f"{len(queries)} pictures, nearest of {len(names)}: {recall(1)}, {recall(5)}, {recall(10)}; chance of R@1 {100 / len(names):.2f} %")


def main():
    what, args = sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]
    if what == "lists" and len(args) == 4:
        lists(*args)
    elif what == "pixels" and len(args) == 2:
        compare(*map(pixels, args), lambda a, b: -((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T))
    elif what == "features" and len(args) in (2, 3):
        queries, gallery = features(args[0]), features(args[1])
        if len(args) == 3:
            wanted = {plain(path) for path in open(args[2], encoding="utf-8").read().split()}
            queries = {k: v for k, v in queries.items() if k in wanted}
        compare(queries, gallery, lambda a, b: a @ b.T)
    else:
        sys.exit(__doc__)


main()
