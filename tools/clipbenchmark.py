#!/usr/bin/env python3
"""CLIP_benchmark's own code on features of `runner eval --features`: every figure and every example compared.

    pip install --no-deps --target /tmp/cb clip_benchmark==1.6.2 "numpy<2.4"
    runner eval RUN --suite experiments/suites/emoji.yaml --features /tmp/features --clip-benchmark /tmp/figures
    PYTHONPATH=/tmp/cb tools/clipbenchmark.py /tmp/features /tmp/figures

Prints a line for each evaluation, and fails at the first difference. Needs torch, scikit-learn, tqdm and safetensors.

CLIP_benchmark knows one picture a group. Where several pictures share captions, its recall_at_k is given the pairs of all pictures of a
group, as its evaluate gives it those of one.
"""
import glob
import json
import os
import sys

import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval

BATCH = 64


class Stored:
    """A model whose features were computed before: pictures are their places, texts are looked up."""

    def __init__(self, images, texts, features):
        self.images, self.features, self.at = images, features, {t: i for i, t in enumerate(texts)}

    def encode_image(self, places):
        return self.images[places]

    def encode_text(self, places):
        return self.features[places]

    def tokenize(self, texts):
        return torch.tensor([self.at[t] for t in texts])


class Loader(list):
    """Batches, as a DataLoader gives them."""

    def __init__(self, batches, classes=()):
        super().__init__(batches)
        self.dataset = type("Dataset", (), {"classes": list(classes)})()


def classify(model, labels, classes, templates):
    """CLIP_benchmark's figures of zero-shot classification, and the class that each picture is taken for."""
    places, labels = torch.arange(len(labels)), torch.tensor(labels)
    loader = Loader(zip(places.split(BATCH), labels.split(BATCH)), classes)
    templates = [t.replace("{}", "{c}") for t in templates]
    figures = zeroshot_classification.evaluate(model, loader, model.tokenize, classes, templates, "cpu", amp=False)
    classifier = zeroshot_classification.zero_shot_classifier(model, model.tokenize, classes, templates, "cpu", amp=False)
    logits, _ = zeroshot_classification.run_classification(model, classifier, loader, "cpu", amp=False)
    return figures, logits.argmax(dim=1).tolist()


def retrieve(model, captions, ks):
    """CLIP_benchmark's figures of retrieval where each picture has captions of its own, and by K whether each query finds one."""
    places = torch.arange(len(captions)).split(BATCH)
    loader = Loader([(p, [captions[i] for i in p]) for p in places])
    figures = zeroshot_retrieval.evaluate(model, loader, model.tokenize, "cpu", amp=False, recall_k_list=ks)
    texts = [t for own in captions for t in own]
    pairs = torch.zeros(len(texts), len(captions), dtype=bool)
    pairs[torch.arange(len(texts)), [i for i, own in enumerate(captions) for _ in own]] = True
    return figures, hits(model.encode_text(model.tokenize(texts)) @ model.images.t(), pairs, ks)


def hits(scores, pairs, ks):
    """By direction and K, whether each query finds a positive."""
    out = {}
    for way, s, p in (("image_retrieval", scores, pairs), ("text_retrieval", scores.T, pairs.T)):
        for k in ks:
            found = zeroshot_retrieval.batchify(zeroshot_retrieval.recall_at_k, s, p, BATCH, "cpu", k=k) > 0
            out[f"{way}@{k}"] = found.int().tolist()
    return out


def grouped(model, captions, groups, once, ks):
    """As retrieve, where pictures of a group share captions: each distinct caption of each group is a query, or with once each distinct caption."""
    texts, owners, place = [], [], {}
    for own, g in zip(captions, groups):
        for c in own:
            key = c if once else (g, c)
            if key not in place:
                place[key] = len(texts)
                texts.append(c)
                owners.append(set())
            owners[place[key]].add(g)
    pairs = torch.tensor([[g in own for g in groups] for own in owners])
    h = hits(model.encode_text(model.tokenize(texts)) @ model.images.t(), pairs, ks)
    return {f"{k.split('@')[0]}_recall@{k.split('@')[1]}": sum(v) / len(v) for k, v in h.items()}, h


def same(what, ours, theirs, tolerance):
    if ours is None or theirs is None or abs(ours - theirs) > tolerance:
        sys.exit(f"{what}: {ours} here, {theirs} in CLIP_benchmark")


def main(features, figures):
    from safetensors import safe_open
    files = sorted(glob.glob(os.path.join(features, "*.safetensors")))
    if not files:
        sys.exit(f"no features in {features}")
    for path in files:
        with safe_open(path, "pt") as f:
            meta, t = f.metadata(), {k: f.get_tensor(k) for k in f.keys()}
        model = Stored(t["image_features"], json.loads(meta["texts"]), t["text_features"])
        name, n = meta["evaluation"], len(t["image_features"])
        written = {}
        for out in glob.glob(os.path.join(figures, f"{glob.escape(name)}_{meta['run']}-step-{meta['step']}_*.json")):
            written.update(json.load(open(out))["metrics"])
        if "predicted" in t:
            labels = t["labels." + meta["target"]].tolist()
            if min(labels) < 0:
                sys.exit(f"{name}: samples without a label, which CLIP_benchmark does not know")
            theirs, predicted = classify(model, labels, json.loads(meta["classes"]), json.loads(meta["templates"]))
            ours = t["predicted"].tolist()
            differ = [i for i in range(n) if ours[i] != predicted[i]]
            if differ:
                sys.exit(f"{name}: {len(differ)} of {n} predictions differ, the first of sample {differ[0]}: {ours[differ[0]]} here, {predicted[differ[0]]} there")
            for k, v in theirs.items():
                if v == v:
                    same(f"{name} {k}", written.get(k), v, 1e-9)
            print(f"{name}: {n} predictions and {', '.join(f'{k} {v:.6f}' for k, v in theirs.items())}: equal")
        if "ranks.image_to_text" in t:
            captions, groups = json.loads(meta["captions"]), t["groups"].tolist()
            ks = [k for k in (1, 5, 10) if f"image_retrieval_recall@{k}" in written]
            alone = len(set(groups)) == len(groups) and all(len(set(c)) == len(c) for c in captions) and meta["equal_captions"] == "false"
            theirs, found = retrieve(model, captions, ks) if alone else grouped(model, captions, groups, meta["equal_captions"] == "true", ks)
            for way, ranks in (("image_retrieval", t["ranks.text_to_image"]), ("text_retrieval", t["ranks.image_to_text"])):
                for k in ks:
                    ours = (ranks <= k).int().tolist()
                    differ = sum(a != b for a, b in zip(ours, found[f"{way}@{k}"]))
                    if differ or len(ours) != len(found[f"{way}@{k}"]):
                        sys.exit(f"{name}: {way}@{k}: {differ} of {len(ours)} queries differ")
                    same(f"{name} {way}@{k}", written[f"{way}_recall@{k}"], theirs[f"{way}_recall@{k}"], 1e-6)  # theirs are of float32
            print(f"{name}: {len(t['ranks.text_to_image'])} texts and {n} pictures, {', '.join(f'{k} {v:.6f}' for k, v in theirs.items())}: equal")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
