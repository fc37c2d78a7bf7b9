"""python -m pytest, or python test_plugin.py. `runner plugin test .` checks the plugin as a process."""

from plugin import Config, build


def test_padding_has_no_influence():
    module = build(Config(width=4, vocab_size=50), 8)
    one = module(module.tokenize(["a red bird"]))
    both = module(module.tokenize(["a red bird", "two red birds on a wire"]))
    assert one.shape == (1, 8) and both[0].allclose(one[0])


if __name__ == "__main__":
    test_padding_has_no_influence()
