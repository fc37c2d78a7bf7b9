from dataclasses import dataclass

import tandem

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


@dataclass
class Config:
    count: int = tandem.field(60, min=1, help="number of pictures")


class Squares:
    targets = {"colour": list(COLOURS)}
    negatives = 2

    def __init__(self, config):
        self.count = config.count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        import numpy

        name = list(COLOURS)[i % 3]
        pixels = numpy.zeros((40, 44, 3), numpy.uint8)
        pixels[5:35, 5 + i % 7:30] = COLOURS[name]
        return tandem.Sample(pixels, [f"a {name} square", f"a square that is {name}"], key=f"square/{i}", group=i % 3, labels={"colour": i % 3},
                             negatives=[f"a {other} square" for other in COLOURS if other != name])


tandem.serve(tandem.Dataset("squares", Squares, config=Config, negatives=True, summary="plain squares in three colours"))
