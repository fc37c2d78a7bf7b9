#!/usr/bin/env python3
"""myplugin: a dataset that draws squares in a colour at a place."""

from dataclasses import dataclass

import tandem

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "yellow": (220, 220, 30)}
PLACES = ["top left", "top right", "bottom left", "bottom right"]


@dataclass
class Config:
    count: int = tandem.field(500, min=20, help="number of pictures, of all splits")
    split: str = tandem.field("train", enum=["train", "test"], help="part of the pictures: every fifth is for tests")


class Squares:
    def __init__(self, config):
        self.numbers = [n for n in range(config.count) if (n % 5 == 4) == (config.split == "test")]
        self.targets = {"kind": [f"a {colour} square at the {place}" for colour in COLOURS for place in PLACES]}

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, i):  # a function of i alone
        import numpy as np

        n = self.numbers[i]
        kind = n % 16
        place, size = kind % 4, 12 + n % 5
        left, top = place % 2 * 20 + 2 + n % 3, place // 2 * 20 + 2 + n % 2
        picture = np.full((40, 40, 3), 235, np.uint8)
        picture[top:top + size, left:left + size] = list(COLOURS.values())[kind // 4]
        return tandem.Sample(picture, self.targets["kind"][kind], key=f"square/{n}", group=kind, labels={"kind": kind})


tandem.serve(tandem.Dataset("myplugin", Squares, config=Config, summary="squares in a colour at a place"))
