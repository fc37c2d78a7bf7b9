#!/usr/bin/env python3
"""The nearest emoji of another style, by pixels and by what a run's image tower makes of them; and zero-shot by subgroups.

Usage: emoji-neighbours.py lists ROOT FROM TO OUT       writes OUT-FROM.txt and OUT-TO.txt, the pictures of the emoji that both
                                                        styles have (no flags, no components, no skin tones)
       emoji-neighbours.py split ROOT PEEK.json OUT.txt  writes the pictures of `runner data peek SPEC -n 100000 --json`
       emoji-neighbours.py identity FROM TO              is the picture of the same emoji the nearest?
       emoji-neighbours.py groups ROOT TRAIN TEST        are the nearest of the same group of the Unicode charts? Majority of k
       emoji-neighbours.py prompts TRAIN.json OUT.txt    writes "GROUP, SUBGROUP" for every subgroup of the pictures of a peek
       emoji-neighbours.py zeroshot TRAIN.json TEST.json FEATURES  the group whose subgroups' prompts are likeliest together
                                                         (marginal over the subgroups; after Novack et al. 2023, CHiLS)

ROOT is what `runner data get emoji` fills. FROM, TO, TRAIN and TEST are lists of pictures (.txt), which are compared by 16 x 16
pixels of RGB, or what `runner embed --images LIST` wrote of them (.safetensors). The whole way of identity:

    tools/emoji-neighbours.py lists ~/.local/share/tandem/emoji fluent google /tmp/id
    tools/emoji-neighbours.py identity /tmp/id-fluent.txt /tmp/id-google.txt
    runner embed --run RUN --images /tmp/id-fluent.txt --out /tmp/fluent.safetensors
    runner embed --run RUN --images /tmp/id-google.txt --out /tmp/google.safetensors
    tools/emoji-neighbours.py identity /tmp/fluent.safetensors /tmp/google.safetensors

and of zero-shot, where TRAIN.json and TEST.json are of `runner data peek SPEC -n 10000 --json` of emoji alone:

    tools/emoji-neighbours.py prompts TRAIN.json /tmp/prompts.txt
    tools/emoji-neighbours.py split ROOT TEST.json /tmp/test.txt
    runner embed --run RUN --images /tmp/test.txt --texts /tmp/prompts.txt --out /tmp/test.safetensors
    tools/emoji-neighbours.py zeroshot TRAIN.json TEST.json /tmp/test.safetensors

Needs numpy, and for pixels Pillow.
"""
import json
import os
import struct
import sys

import numpy as np

STYLES = ("google", "twitter", "fluent")


def plain(code):
    """A hex sequence without variation selectors, on which the packages disagree."""
    return os.path.splitext(os.path.basename(code))[0].upper().replace("-FE0F", "")


class Emoji:
    """The emoji of the packages below a folder: their groups and pictures."""

    def __init__(self, root):
        read = lambda path: json.load(open(os.path.join(root, path), encoding="utf-8"))
        self.root = root
        names = read("emojibase-data/meta/groups.json")["groups"]
        files = {plain(p["unified"]): p["image"] for p in read("emoji-datasource-google/emoji.json") if p["has_img_google"] and p["has_img_twitter"]}
        shaded = os.path.join(root, "fluent-emoji-3d", "assets")
        self.shaded = {plain(f): os.path.join(shaded, f) for f in os.listdir(shaded)}
        self.files, self.group = {}, {}
        for e in read("emojibase-data/en/data.json"):
            code = plain(e["hexcode"])
            if e.get("group") is None or e.get("subgroup") is None or names[str(e["group"])] in ("component", "flags") or code not in files:
                continue
            self.files[code], self.group[code] = files[code], names[str(e["group"])]

    def picture(self, code, style):
        if style == "fluent":
            return self.shaded.get(code)
        return os.path.join(self.root, "emoji-datasource-" + style, "img", style, "64", self.files[code])


def write(path, lines):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in lines)
    print(f"{path}: {len(lines)} lines")


def lists(root, source, target, out):
    emoji = Emoji(root)
    both = [(a, b) for a, b in ((emoji.picture(c, source), emoji.picture(c, target)) for c in emoji.files) if a and b]
    write(f"{out}-{source}.txt", [a for a, _ in both])
    write(f"{out}-{target}.txt", [b for _, b in both])


def split(root, peek, out):
    emoji = Emoji(root)
    keys = [x["key"] for x in json.load(open(peek, encoding="utf-8"))["shown"]]
    write(out, [emoji.picture(plain(hexcode), style) for hexcode, style in (k.split("/")[-2:] for k in keys)])


def kinds(peek):
    """The subgroups of the pictures of a peek with their groups, in the order of the alphabet."""
    labels = [x["labels"] for x in json.load(open(peek, encoding="utf-8"))["shown"]]
    return sorted({(x["group"], x["subgroup"]) for x in labels})


def prompts(peek, out):
    write(out, [f"{group}, {subgroup}" for group, subgroup in kinds(peek)])


def features(file):
    """The hex sequences of pictures, and a row of numbers for each."""
    if file.endswith(".txt"):
        from PIL import Image
        paths, rows = open(file, encoding="utf-8").read().split("\n")[:-1], []
        for path in paths:
            picture = Image.open(path).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            small = Image.alpha_composite(white, picture).convert("RGB").resize((16, 16), Image.BOX)
            rows.append(np.asarray(small, np.float32).ravel() / 255)
        return list(map(plain, paths)), np.stack(rows)
    return list(map(plain, json.loads(header(file)[0]["__metadata__"]["images"]))), tensor(file, "image_features")


def header(file):
    """The header of a .safetensors file, and what comes behind it."""
    data = open(file, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def tensor(file, name):
    about, data = header(file)
    begin, end = about[name]["data_offsets"]
    return np.frombuffer(data[begin:end], np.float32).reshape(about[name]["shape"])


def nearness(a, b):
    """Minus the squared distance of each row of a from each of b; of unit vectors this is the order of cosines."""
    return -((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T)


def identity(source, target):
    (names, a), (others, b) = features(source), features(target)
    near = nearness(a, b)
    own = near[np.arange(len(names)), [others.index(n) for n in names]][:, None]
    rank = (near > own).sum(1) + ((near == own).sum(1) - 1) / 2  # ties half the way
    recall = "  ".join(f"R@{k} {100 * np.mean(rank < k):.1f} %" for k in (1, 5, 10))
    print(f"{len(names)} pictures, nearest of {len(others)}: {recall}  (chance of R@1 {100 / len(others):.2f} %)")


def groups(root, train, test):
    group = Emoji(root).group
    (seen, a), (asked, b) = features(train), features(test)
    order = np.argsort(-nearness(b, a), 1, kind="stable")
    out = []
    for k in (1, 5, 10, 20, 50):
        right = 0
        for i, name in enumerate(asked):
            votes = {}
            for place, j in enumerate(order[i, :k]):  # the nearer decides where votes are equal
                votes[group[seen[j]]] = votes.get(group[seen[j]], 0) + 1 + (k - place) * 1e-3 / k
            right += max(votes, key=votes.get) == group[name]
        out.append(f"{k}: {100 * right / len(asked):.1f} %")
    largest = max(sum(group[n] == g for n in asked) for g in set(group.values()))
    print(f"{len(asked)} pictures, by the nearest k of {len(seen)}: {'  '.join(out)}  (largest group {100 * largest / len(asked):.1f} %)")


def zeroshot(train, test, file):
    of = [group for group, _ in kinds(train)]
    groups = sorted(set(of))
    truth = {plain(x["key"].split("/")[-2]): x["labels"]["group"] for x in json.load(open(test, encoding="utf-8"))["shown"]}
    names, images = features(file)
    texts, scale = tensor(file, "text_features"), float(tensor(file, "logit_scale").ravel()[0])
    logits = scale * images @ texts.T
    likely = np.exp(logits - logits.max(1, keepdims=True))
    joint = np.stack([likely[:, [g == group for g in of]].sum(1) for group in groups], 1)
    right = [groups[k] == truth[n] for n, k in zip(names, joint.argmax(1))]
    print(f"{len(names)} pictures, {len(of)} subgroups of {len(groups)} groups: {100 * np.mean(right):.1f} %")


def main():
    commands = {"lists": (lists, 4), "split": (split, 3), "identity": (identity, 2), "groups": (groups, 3),
                "prompts": (prompts, 2), "zeroshot": (zeroshot, 3)}
    command, n = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != 2 + n:
        sys.exit(__doc__)
    command(*sys.argv[2:])


main()
