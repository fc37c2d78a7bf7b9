"""python -m pytest, or python test_plugin.py. `runner plugin test .` checks the plugin as a process."""

import torch

from plugin import Config, build


def test_a_picture_becomes_a_row():
    config = Config(width=4, image_size=16)
    assert build(config, 8)(torch.zeros(2, 3, 16, 16)).shape == (2, 8)


if __name__ == "__main__":
    test_a_picture_becomes_a_row()
