from dataclasses import dataclass
from pathlib import Path

import tandem


@dataclass
class Config:
    folder: str = tandem.field(path=True, help="a folder of pictures")


class Pictures:
    negatives = 2

    def __init__(self, config):
        self.files = sorted(f for f in Path(config.folder).iterdir() if f.suffix in (".png", ".jpg", ".gif", ".bmp", ".webp"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        name = self.files[i].name
        return tandem.Sample(self.files[i], [f"caption {k} of {name}" for k in range(5)], name, negatives=[f"not {k} of {name}" for k in range(1 + i % 5)])


tandem.serve(tandem.Dataset("pictures", Pictures, config=Config, negatives=True, summary="the pictures of a folder"))
