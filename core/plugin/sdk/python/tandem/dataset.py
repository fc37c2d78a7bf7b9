"""The service Dataset: an author's samples as batches, with the transforms and the random numbers of tandem."""

import hashlib
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from . import config as _config
from . import fault
from . import protocol as pb
from .fault import Fault
from .plugins import Sample
from .server import CLOSING, CONFIGURING, USING
from .skips import OTHER, Skips, reason
from .stream import Stream


KEPT = 256 << 20  # datasets fit that are so small that decoding matters beside their training step


class Service:
    """Serves a dataset. Batch may run several times at once."""

    def __init__(self, plugin, server):
        self.plugin, self.server = plugin, server
        self.bad = {}  # why a picture cannot be read, and the reason to count it by, by index: a broken file is read once
        self.kept, self.room = {}, KEPT  # decoded pictures by index, and the bytes that more of them may take

    def methods(self):
        m = self.server.method
        return {"Configure": m(CONFIGURING, self.configure), "Batch": m(USING, self.batch), "Captions": m(USING, self.captions), "Close": m(CLOSING, self.close)}

    def inspection(self):
        return {}

    def configure(self, q, context):
        values = _config.decode(self.plugin.config, getattr(q, "with"))
        if q.image_size < 1:
            raise Fault("invalid", f"image size is {q.image_size}")
        self.size, self.seed = q.image_size, q.seed
        self.crop = _crop(q.augment) if q.HasField("augment") else None
        from . import augment, vision

        self.vision = vision
        self.edits = augment.Edits(q.augment) if q.HasField("augment") else None
        self.data = self.plugin.open(values)
        self.targets = dict(getattr(self.data, "targets", {}) or {})
        self.negatives = int(getattr(self.data, "negatives", 0) or 0)
        self.alter = getattr(self.data, "alter", None)
        self.pool = ThreadPoolExecutor(max(1, q.threads), thread_name_prefix="tandem-sample")
        self.lock = threading.Lock()
        skips = Skips()
        skips.add_all(getattr(self.data, "skips", {}) or {})
        skips.add(OTHER, int(getattr(self.data, "skipped", 0)))
        refused = self._admit(skips)
        n = len(self.samples)
        if n < 1:
            raise Fault("not_found", f"the dataset has no samples ({len(refused)} refused)", detail="\n".join(refused[:5]))
        self._check_keys()
        info = pb.DatasetInfo(len=n, digest=self._digest(), skipped=skips.total(), note=str(getattr(self.data, "note", "")),
                              fixed=self.crop is None and not self.edits and self.alter is None, negatives=self.negatives)
        for name, classes in self.targets.items():
            info.targets.add(name=name, classes=[str(c) for c in classes])
        for why, count in skips.counts.items():
            info.skips.add(reason=why, count=count, first=skips.first[why])
        info.remarks.extend(str(r) for r in getattr(self.data, "remarks", ()))
        if refused:
            info.remarks.append(f"{len(refused)} of {n + len(refused)} samples are refused; the first: {refused[0]}")
        if not vision.EXACT:
            info.remarks.append("Pillow is older than 13: a few pixels differ by a level from those of tandem's own datasets")
        return info

    def _admit(self, skips):
        """Describes all samples. It counts and returns why some can never be used: they have no caption, or no negative."""
        self.samples, self.place, refused = [], [], []
        for i in range(len(self.data)):
            s = self._describe(i)
            why = "no caption" if not s.captions else "no negative" if self.negatives and not s.negatives else ""
            if why and self.plugin.on_error == "fail":
                raise Fault("corrupt", f"sample {i} has {why}", hint='give it one, or serve with on_error="skip"', reason=why)
            if why:
                refused.append(f"sample {i} has {why}")
                skips.add(why, first=f"sample {i}: {s.key}")
                continue
            self.samples.append(s)
            self.place.append(i)
        return refused

    def _describe(self, i):
        """Returns what is known of a sample without its pixels."""
        describe = getattr(self.data, "describe", None)
        s = _sample(describe(i) if describe else self.data[i], i)
        for name, label in s.labels.items():
            if name not in self.targets:
                raise Fault("internal", f"sample {i} has a label of {name}, which is none of the targets {', '.join(self.targets) or '(none)'}", hint="this is a bug in the plugin")
            if not -1 <= label < len(self.targets[name]):
                raise Fault("internal", f"sample {i} has the label {label} of {name}, want -1 to {len(self.targets[name]) - 1}", hint="this is a bug in the plugin")
        s.negatives = [t for t in dict.fromkeys(s.negatives) if t.strip() and t not in s.captions] if self.negatives else []
        source, s.image = s.image, None
        s.origin = _origin(source)
        return s

    def _check_keys(self):
        seen = {}
        for i, s in enumerate(self.samples):
            if seen.setdefault(s.key, i) != i:
                raise Fault("internal", f'samples {seen[s.key]} and {i} have one key, "{s.key}"', hint="this is a bug in the plugin")

    def _digest(self):
        if hasattr(self.data, "digest"):
            return str(self.data.digest())
        h = hashlib.sha256()

        def text(*values):
            for v in values:
                b = v if isinstance(v, bytes) else str(v).encode()
                h.update(struct.pack("<q", len(b)) + b)

        for name, classes in self.targets.items():
            text(name, len(classes), *classes)
        for s in self.samples:
            text(s.key, s.group, s.origin, len(s.captions), *s.captions, *(v for kv in sorted(s.labels.items()) for v in kv), *s.negatives)
        return h.hexdigest()

    def batch(self, q, context):
        for i in q.indices:
            if not 0 <= i < len(self.samples):
                raise Fault("invalid", f"index {i} of a dataset of {len(self.samples)} samples")
        n, shape = len(q.indices), (len(q.indices), self.size, self.size, 3)
        r, array = pb.BatchResponse(), self.server.window.array
        faults = [None] * n
        if not q.no_images:
            first = array(q.out) if q.HasField("out") and q.out.arena else np.zeros(shape, np.uint8)
            second = None
            if q.view2:
                second = array(q.out2) if q.HasField("out2") and q.out2.arena else np.zeros(shape, np.uint8)
            if first.shape != shape or first.dtype != np.uint8:
                raise Fault("invalid", f"pictures go into {first.dtype} {list(first.shape)}, want uint8 {list(shape)}")

            def one(at):
                if context.is_active():
                    faults[at] = self._fill(first[at], None if second is None else second[at], q.indices[at], q.epoch, q.train)

            work = [self.pool.submit(one, at) for at in range(n)]
            wait(work)  # all of it: after an error the memory is somebody else's
            for w in work:
                w.result()
            if not context.is_active():
                raise Fault("canceled", "the call was cancelled")
            r.images.CopyFrom(q.out if q.HasField("out") and q.out.arena else pb.Tensor(dtype=3, shape=shape, inline=first.tobytes()))
            if second is not None:
                r.images2.CopyFrom(q.out2 if q.HasField("out2") and q.out2.arena else pb.Tensor(dtype=3, shape=shape, inline=second.tobytes()))
        labels = {name: [] for name in self.targets}
        for at, i in enumerate(q.indices):
            s = self.samples[i]
            r.keys.append(s.key)
            r.groups.append(s.group)
            if q.train:
                r.captions.append(Stream(self.seed, "caption", q.epoch, i).choice(s.captions))
            else:
                r.captions.append(s.captions[0])
                r.all.add(values=s.captions)
            for name, list_ in labels.items():
                list_.append(s.labels.get(name, -1))
            if q.negatives:
                r.negatives.add(values=self._negatives(s.negatives, q.epoch, i))
            if faults[at] is not None:
                msg, why = faults[at]
                r.faults.add(index=i, key=s.key, msg=msg, reason=why)
        for name, list_ in labels.items():
            r.labels[name].values.extend(list_)
        return r

    def _negatives(self, pool, epoch, i):
        """Returns as many negatives as the dataset has: drawn from a larger pool, or a smaller one again and again."""
        k = self.negatives
        if len(pool) > k:
            return [pool[at] for at in Stream(self.seed, "negatives", epoch, i).perm(len(pool))[:k]]
        return [pool[at % len(pool)] for at in range(k)]

    def _fill(self, first, second, i, epoch, train):
        """Writes the picture of a sample, and a second view of it. It returns why the sample cannot be read."""
        if i in self.bad:
            return self._black(first, second, i)
        try:
            image = self._picture(i)
        except Exception as e:
            if self.plugin.on_error == "fail":
                f = fault.from_exception(e, self.server.home)
                raise Fault("corrupt" if f.kind == "internal" else f.kind, f"sample {i} ({self.samples[i].key}): {f.msg}", detail=f.detail, file=f.file, line=f.line,
                            reason=reason(e), hint="mend or remove it, or serve with on_error=\"skip\"") from e
            self.bad[i] = f"{type(e).__name__}: {e}"[:2000], reason(e)
            return self._black(first, second, i)
        self._transform(first, image, i, epoch, train, "")
        if second is not None:
            self._transform(second, image, i, epoch, train, " 2")
        return None

    def _picture(self, i):
        """Returns the picture of a sample in RGB, and keeps it while there is room."""
        image = self.kept.get(i)
        if image is None:
            image = self.vision.load(_sample(self.data[self.place[i]], i).image, self.plugin.background)
            with self.lock:
                size = 3 * image.width * image.height
                if size <= self.room and i not in self.kept:
                    self.kept[i], self.room = image, self.room - size
        return image

    def _black(self, first, second, i):
        first[...] = 0
        if second is not None:
            second[...] = 0
        return self.bad[i]

    def _transform(self, out, image, i, epoch, train, view):
        if train and self.crop is not None:
            pixels = self.vision.augment(image, self.size, Stream(self.seed, "augment" + view, epoch, i), *self.crop)
        else:
            pixels = self.vision.evaluate(image, self.size)
        if train and self.alter is not None:
            pixels = np.asarray(self.alter(np.array(pixels), Stream(self.seed, "alter" + view, epoch, i)))
            if pixels.shape != out.shape or pixels.dtype != np.uint8:
                raise Fault("internal", f"alter returned {pixels.dtype} {list(pixels.shape)}, want uint8 {list(out.shape)}", hint="this is a bug in the plugin")
        if train and self.edits:
            pixels = self.edits.apply(pixels, lambda purpose: Stream(self.seed, purpose + view, epoch, i))
        out[...] = pixels

    def captions(self, q, context):
        if q.limit < 0:
            raise Fault("invalid", f"limit is {q.limit}")
        distinct = dict.fromkeys(c for s in self.samples for c in s.captions)
        for c in [*(t for s in self.samples for t in s.negatives), *getattr(self.data, "texts", ())]:
            distinct.setdefault(c)
        out = list(distinct)
        return pb.CaptionsResponse(captions=out[: q.limit] if q.limit else out)

    def close(self, q, context):
        self.data = None
        return pb.Done()


def _sample(given, i):
    """Returns what an author's __getitem__ gave as a Sample of its own."""
    if isinstance(given, dict):
        given = Sample(**{"image": None, **given})
    elif isinstance(given, tuple):
        given = Sample(*given)
    if not isinstance(given, Sample):
        raise Fault("internal", f"sample {i} is {type(given).__name__}, want tandem.Sample or (image, captions)", hint="this is a bug in the plugin")
    captions = [given.captions] if isinstance(given.captions, str) else list(given.captions)
    captions = [c for c in captions if c.strip()]
    return Sample(given.image, captions, str(given.key) or str(i), i if given.group is None else int(given.group),
                  {k: int(v) for k, v in given.labels.items()}, list(given.negatives))


def _origin(source):
    """Returns what tells one picture from another without reading all of it: a file's name and size, or a digest."""
    name = source if isinstance(source, (str, os.PathLike)) else getattr(source, "filename", "")
    if name:
        try:
            return f"{os.path.basename(os.fspath(name))} {os.path.getsize(name)}"
        except OSError:
            return os.path.basename(os.fspath(name))
    if source is None or callable(source):
        return ""
    a = np.ascontiguousarray(source)
    return hashlib.sha256(a.tobytes()).hexdigest()


def _crop(a):
    """Returns scale, ratio and probability of a flip of the training transform; None for that of evaluation."""
    def bad(path, value, want):
        raise Fault("invalid", f"{value}, want {want}", path="augment." + path)

    if a.name in ("", "none"):
        return None
    if a.name != "random_resized_crop":
        raise Fault("invalid", f'"{a.name}" is not an augmentation', path="augment.name", hint="none or random_resized_crop")
    if not 0 < a.scale_min <= a.scale_max <= 1:
        bad("scale", [a.scale_min, a.scale_max], "0 < low ≤ high ≤ 1")
    if not 0 < a.ratio_min <= a.ratio_max:
        bad("ratio", [a.ratio_min, a.ratio_max], "0 < low ≤ high")
    if not 0 <= a.hflip <= 1:
        bad("hflip", a.hflip, "a probability")
    return (a.scale_min, a.scale_max), (a.ratio_min, a.ratio_max), a.hflip
