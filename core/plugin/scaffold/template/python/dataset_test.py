"""python -m pytest, or python test_plugin.py. `runner plugin test .` checks the plugin as a process."""

from plugin import Config, Squares


def test_splits_have_nothing_in_common():
    keys = {split: {s.key for s in map(Squares(Config(100, split)).__getitem__, range(len(Squares(Config(100, split)))))} for split in ("train", "test")}
    assert len(keys["train"]) == 80 and len(keys["test"]) == 20 and not keys["train"] & keys["test"]


if __name__ == "__main__":
    test_splits_have_nothing_in_common()
