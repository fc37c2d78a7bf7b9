from dataclasses import dataclass
from pathlib import Path

import tandem


@dataclass
class Config:
    folder: str = tandem.field(path=True, help="a folder of pictures")


class Pictures:
    def __init__(self, config):
        self.files = sorted(f for f in Path(config.folder).iterdir() if f.suffix in (".png", ".jpg", ".gif", ".bmp", ".webp"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.files[i], [f"caption {k} of {self.files[i].name}" for k in range(5)], self.files[i].name


tandem.serve(tandem.Dataset("pictures", Pictures, config=Config, summary="the pictures of a folder"))
