#!/usr/bin/env python3
from dataclasses import dataclass

from faulty import Fault, Plugin, Service, process, random, safetensors, tandem, time


@dataclass
class Config:
    fault: str = tandem.field("", help="the rule that it breaks")


class Squares(Service):
    """½·s·|image − text|² of a pair, with a learnable s."""

    names = ["Configure", "Compute", "GradNorm", "Step", "Gradients", "Save", "Load", "Close"]

    def Configure(self, q, context):
        from tandem import protocol as pb

        self.options(q)
        self.s, self.g = 2.0, 0.0
        n = 9 if self.fault == "too many parameters" else 1
        return pb.LossInfo(parameters=n, backend="numpy", bucket_sizes=[n])

    def Compute(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        image, text = self.window.array(q.image), self.window.array(q.text)
        if image.shape != text.shape or len(image) < 2 and self.fault != "batch of one":
            raise Fault("invalid", f"image is {image.shape}, text is {text.shape}")
        b = len(image)
        if self.fault == "deaf":
            time.sleep(b * 0.006)
        diff = image.astype(np.float64) - text
        if self.fault == "place":
            diff *= 1 + np.arange(b)[:, None]
        squares = np.array([(row**2).sum() / 2 for row in diff])
        slope = self.s * diff / b * {"wrong sign": -1, "sum for a mean": b}.get(self.fault, 1)
        value = self.s * float(np.sort(squares).sum()) / b
        if self.fault == "random":
            value += 1e-9 * random.random()
        elif self.fault == "adds when training" and q.train:
            value += 1
        elif self.fault == "writes its input":
            text[0, 0] = 0.123
        if value != value:
            if self.fault != "hides NaN":
                raise Fault("numeric", "the value is NaN")
            value, slope = 0.0, np.zeros_like(diff)
        r = pb.LossResponse(value=value)
        r.parts["squares"] = value
        if q.per_sample:
            per = self.s * squares
            if self.fault == "sums samples":
                per[0] *= 2
            r.per_sample["squares"].values.extend(per.tolist())
        if q.train or self.fault == "always learns":
            self.g += float(squares.sum()) / b
            if self.fault == "half a gradient":
                self.g /= 2
        if q.train:
            r.d_image.CopyFrom(self.window.answer("gradient", slope.astype("f4"), q.out_image if q.HasField("out_image") else None, pb.Tensor))
            r.d_text.CopyFrom(self.window.answer("gradient", -slope.astype("f4"), q.out_text if q.HasField("out_text") else None, pb.Tensor))
        return r

    def GradNorm(self, q, context):
        from tandem import protocol as pb

        return pb.GradNormResponse(sum_of_squares=self.g**2)

    def Gradients(self, q, context):
        import numpy as np

        return self.read_bucket(q, np.array([self.g], "f4"))

    def Step(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        self.g = float(self.write_bucket(q, np.array([self.g]))[0])
        self.s -= q.lr * (1 if self.fault == "ignores scale" else q.scale) * self.g
        self.g = 0.0
        return pb.Done()

    def Save(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        safetensors.write(q.path, {"s": np.array([round(self.s) if self.fault == "saves rounded" else self.s], "f8")}, {})
        return pb.Done()

    def Load(self, q, context):
        from tandem import protocol as pb

        tensors = self.load(q.path, lambda: None)
        if tensors is not None:
            self.s = float(tensors["s"][0])
        return pb.Done()


process.serve(Plugin("loss", Squares, Config, capabilities=["buckets"]))
