#!/usr/bin/env python3
import threading
from dataclasses import dataclass

from faulty import Fault, Plugin, Service, process, tandem, time


@dataclass
class Config:
    fault: str = tandem.field("", help="the rule that it breaks")
    split: str = tandem.field("train", enum=["train", "test"], help="part of the samples")


class Plain(Service):
    """40 pictures of one colour each."""

    names = ["Configure", "Batch", "Captions", "Close"]

    def Configure(self, q, context):
        from tandem import protocol as pb

        self.split, self.size, self.augment = self.options(q).split, q.image_size, q.HasField("augment")
        self.calls, self.busy = 0, threading.Lock()
        info = pb.DatasetInfo(len=40, digest="d1", fixed=not self.augment or self.fault == "calls crops fixed")
        info.len += {"one too long": 1, "one too short": -1}.get(self.fault, 0)
        if self.fault == "another digest each time":
            info.digest = str(time.time_ns())
        info.targets.add(name="parity", classes=["even", "odd"])
        return info

    def Batch(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        free = self.busy.acquire(blocking=False)
        try:
            if self.fault == "one at a time":
                if not free:
                    raise Fault("conflict", "busy")
                time.sleep(0.02)
            self.calls += 1
            r, colours = pb.BatchResponse(), []
            for index in q.indices:
                if not 0 <= index < 40:
                    raise Fault("invalid", f"sample {index} of 40")
                colour = index
                if self.augment and (q.train or self.fault == "augments evaluation"):
                    colour += 50 + 50 * q.epoch * (self.fault != "ignores the epoch")
                colour += {"call order": self.calls, "mixes samples": 3 * len(q.indices)}.get(self.fault, 0)
                colours.append(colour & 255)
                caption = {"no captions": "", "other captions": "something" if q.no_images else f"number {index}"}.get(self.fault, f"number {index}")
                r.captions.append(caption)
                n = 8 if self.fault == "one key for two" and index == 7 else index
                r.keys.append({"splits overlap": str(n), "no key": ""}.get(self.fault, f"{self.split}/{n}"))
                r.groups.append(index)
                r.labels["parity"].values.append(index % 2 + 2 * (self.fault == "label out of range"))
                if not q.train:
                    r.all.add(values=[caption])
            if not q.no_images:
                side = self.size + (self.fault == "wrong size")
                pictures = np.array(colours, np.uint8)[:, None, None, None].repeat(side, 1).repeat(side, 2).repeat(3, 3)
                out = q.out if q.HasField("out") and side == self.size else None
                r.images.CopyFrom(self.window.answer("pictures", pictures, out, pb.Tensor))
            return r
        finally:
            if free:
                self.busy.release()

    def Captions(self, q, context):
        from tandem import protocol as pb

        captions = [f"number {i}" for i in range(40)][: q.limit or None]
        if self.fault == "repeats captions":
            captions[1] = captions[0]
        elif self.fault == "hides captions":
            captions = captions[1:]
        return pb.CaptionsResponse(captions=captions)


process.serve(Plugin("dataset", Plain, Config))
