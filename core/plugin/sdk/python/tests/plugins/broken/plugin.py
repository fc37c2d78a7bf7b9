import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tandem


@dataclass
class Config:
    folder: str = tandem.field(path=True, help="an empty folder to write to")


def nothing_opens():
    raise tandem.Fault("corrupt", "the record is not what it says", reason="corrupt record")


class Broken:
    """Samples of which one is whole, each of the others broken in its own way."""

    skips = {"no picture": (2, "line 7"), "corrupt record": 1}
    skipped = 3

    def __init__(self, config):
        from PIL import Image

        noise = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(noise, "PNG")
        folder = Path(config.folder)
        for name, data in {"half.png": noise.getvalue()[:2000], "empty.png": b"", "text.png": b"no picture at all"}.items():
            (folder / name).write_bytes(data)
        self.pictures = [np.zeros((8, 8, 3), np.uint8), folder / "half.png", folder / "empty.png", folder / "text.png", folder / "gone.png", lambda: None, nothing_opens]

    def __len__(self):
        return len(self.pictures) + 2

    def __getitem__(self, i):
        if i >= len(self.pictures):
            return tandem.Sample(np.zeros((8, 8, 3), np.uint8), "  ")
        return tandem.Sample(self.pictures[i], f"number {i}")


tandem.serve(tandem.Dataset("broken", Broken, config=Config, summary="pictures that cannot be read"))
