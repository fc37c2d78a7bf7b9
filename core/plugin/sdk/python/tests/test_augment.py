"""Tests of what needs Pillow: python -m unittest tests.test_augment, in the SDK's folder."""

import hashlib
import types
import unittest

import numpy as np

from tandem import fault
from tandem.augment import Edits
from tandem.stream import Stream


def config(**more):
    values = dict(randaugment_ops=0, randaugment_magnitude=0, color_jitter=[], color_jitter_prob=0.0, grayscale=0.0, blur=0.0, blur_sigma_min=0.0, blur_sigma_max=0.0)
    return types.SimpleNamespace(**{**values, **more})


def soft(w, h):
    """The picture "soft" of core/media/vision/augment's tests."""
    n, px = 12345, bytearray()
    for i in range(3 * w * h):
        n = (n * 1103515245 + 12345) & 0x7FFFFFFF
        px.append(40 + (i // 3 % w * 3 + i // 3 // w * 2 + i % 3 * 17 + ((n >> 16 & 255) >> 5)) % 150)
    return np.frombuffer(bytes(px), np.uint8).reshape(h, w, 3)


class AugmentTest(unittest.TestCase):
    def test_the_pixels_are_those_of_datasets_in_go(self):
        for part, want, more in [
            ("randaugment", "f40ae88945d29675a7e7b715ca29c560", dict(randaugment_ops=3, randaugment_magnitude=13)),
            ("color jitter", "7dee651b8673c6385332dcdeda96c390", dict(color_jitter=[0.4, 0.3, 0.5, 0.2], color_jitter_prob=0.9)),
            ("grayscale", "19c4cf4acc5a6bd22b1b64b3171821e7", dict(grayscale=0.3)),
            ("blur", "8863a092ca14ec2294c244f8944f43d2", dict(blur=0.7, blur_sigma_min=0.1, blur_sigma_max=2.0)),
        ]:
            edits, h, picture = Edits(config(**more)), hashlib.sha256(), soft(64, 64)
            for seed in range(200):
                h.update(np.ascontiguousarray(edits.apply(picture, lambda purpose: Stream(seed, purpose))).tobytes())
            self.assertEqual(h.hexdigest()[:32], want, part)

    def test_values_out_of_bounds_are_refused(self):
        for path, more in [
            ("grayscale", dict(grayscale=2.0)), ("color_jitter", dict(color_jitter=[0.1, 0.1, 0.1, 0.6])), ("blur_sigma", dict(blur=0.5)),
            ("randaugment_magnitude", dict(randaugment_magnitude=31)), ("randaugment_ops", dict(randaugment_ops=-1)), ("color_jitter_prob", dict(color_jitter_prob=-0.1)),
        ]:
            with self.assertRaises(fault.Fault) as caught:
                Edits(config(**more))
            self.assertEqual(caught.exception.path, "augment." + path)


if __name__ == "__main__":
    unittest.main()
