"""python -m pytest, or python test_plugin.py. `runner plugin test .` checks the plugin as a process."""

from types import SimpleNamespace

import torch

from plugin import Config, compute


def test_right_pairs_lose_less():
    p = SimpleNamespace(logit_scale=torch.tensor(2.0))
    eye = torch.eye(4)
    right, _ = compute(SimpleNamespace(image=eye, text=eye), p, Config())
    wrong, _ = compute(SimpleNamespace(image=eye, text=eye.roll(1, 0)), p, Config())
    assert right < wrong


if __name__ == "__main__":
    test_right_pairs_lose_less()
