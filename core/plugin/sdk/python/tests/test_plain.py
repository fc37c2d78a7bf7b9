"""Tests of what needs numpy alone: python -m unittest tests.test_plain, in the SDK's folder."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

import tandem
from tandem import blocks, config, describe, fault, safetensors
from tandem.stream import Stream


@dataclasses.dataclass
class Config:
    needed: bool = tandem.field(help="must be given")
    width: int = tandem.field(64, min=1, max=128, help="channels")
    rate: float = tandem.field(0.5, help="a share")
    pool: str = tandem.field("cls", enum=["cls", "mean"], help="how tokens become one vector")
    weights: str = tandem.field("", path=True, help="a file")
    scales: tuple[float, ...] = tandem.field((0.5, 1.0), length=2, help="two numbers")
    depth: int | None = tandem.field(None, help="layers; left out: what the width gives")


class ConfigTest(unittest.TestCase):
    def test_the_schema_has_types_defaults_and_bounds(self):
        fields = {f["name"]: f for f in config.schema(Config)}
        self.assertEqual(fields["width"], {"name": "width", "type": "int", "help": "channels", "default": 64, "min": 1, "max": 128})
        self.assertEqual(fields["pool"]["enum"], ["cls", "mean"])
        self.assertEqual(fields["weights"]["type"], "path")
        self.assertEqual((fields["scales"]["type"], fields["scales"]["elem"], fields["scales"]["len"]), ("list", "float", 2))
        self.assertTrue(fields["needed"]["required"])
        self.assertNotIn("default", fields["depth"])

    def test_values_come_from_the_block_and_from_the_defaults(self):
        c = config.decode(Config, b'{"width": 8.0, "scales": [0.1, 1], "needed": true}')
        self.assertEqual((c.width, c.scales, c.needed, c.pool, c.depth), (8, (0.1, 1.0), True, "cls", None))
        self.assertIsInstance(c.width, int)

    def test_everything_wrong_is_reported_at_once_with_its_path(self):
        text = json.dumps({"widht": 1, "width": 0, "pool": "men", "rate": "much", "scales": [1], "depth": 1.5})
        with self.assertRaises(fault.Faults) as caught:
            config.decode(Config, text)
        found = {f.path: f for f in caught.exception.faults}
        self.assertEqual(set(found), {"with.widht", "with.width", "with.pool", "with.rate", "with.scales", "with.depth", "with.needed"})
        self.assertIn("did you mean width?", found["with.widht"].hint)
        self.assertIn("did you mean mean?", found["with.pool"].hint)
        self.assertIn("below the minimum 1", found["with.width"].msg)

    def test_an_option_without_help_is_refused(self):
        @dataclasses.dataclass
        class Bare:
            width: int = 3

        with self.assertRaises(TypeError):
            config.schema(Bare)


class StreamTest(unittest.TestCase):
    def test_numbers_are_those_of_core_random(self):
        # core/random's own golden values are checked against the pictures of a whole dataset by go test ./core.
        a, b = Stream(7, "crop", 3, 5), Stream(7, "crop", 3, 5)
        self.assertEqual([a.uint64() for _ in range(4)], [b.uint64() for _ in range(4)])
        self.assertNotEqual(Stream(7, "crop", 3, 5).uint64(), Stream(7, "crop", 5, 3).uint64())
        self.assertTrue(all(0 <= Stream(1, "x", i).integer(3) < 3 for i in range(100)))


class SafetensorsTest(unittest.TestCase):
    def setUp(self):
        self.path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
        self.arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7), "b": ("BF16", np.array([1, 2], np.uint16)), "u": np.zeros(3, np.uint8)}

    def test_what_is_written_is_read(self):
        safetensors.write(self.path, self.arrays, {"format": "x"})
        f = safetensors.File(self.path)
        self.assertEqual(f.metadata, {"format": "x"})
        kind, w = f.read("w")
        self.assertEqual((kind, w.tolist()), ("F32", [[0, 1, 2], [3, 4, 5]]))
        self.assertEqual(f.read("b")[0], "BF16")
        self.assertEqual(f.read("n")[1].shape, ())

    def test_a_damaged_file_is_corrupt(self):
        safetensors.write(self.path, self.arrays, {})
        with open(self.path, "rb") as f:
            whole = f.read()
        for damaged in (whole[: len(whole) // 2], whole[:5], whole + b"x", b"", whole[:8] + b"x" + whole[9:]):
            with open(self.path, "wb") as f:
                f.write(damaged)
            with self.assertRaises(tandem.Fault) as caught:
                safetensors.File(self.path)
            self.assertEqual(caught.exception.kind, "corrupt")


class BlocksTest(unittest.TestCase):
    def places(self, *names):
        return blocks.place({n: 1 for n in names})

    def test_names_of_published_models_say_where_a_parameter_stands(self):
        for names, want in (
            (["class_embedding", "positional_embedding", "proj", "conv1.weight", "ln_pre.weight", "transformer.resblocks.0.attn.in_proj_weight",
              "transformer.resblocks.1.mlp.c_fc.weight", "ln_post.weight"], ["stem", "stem", "head", "stem", "stem", 0, 1, "head"]),
            (["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "layer2.0.conv1.weight", "fc.weight"], ["stem", "stem", 0, 0, 1, "head"]),
            (["stem.0.weight", "stages.0.blocks.0.w", "stages.0.blocks.1.w", "stages.1.blocks.0.w", "head.norm.weight"], ["stem", 0, 0, 1, "head"]),
            (["embeddings.word_embeddings.weight", "embeddings.LayerNorm.weight", "encoder.layer.0.q", "encoder.layer.1.q", "pooler.dense.weight"], ["stem", "stem", 0, 1, "head"]),
            (["patch_embed.proj.weight", "pos_embed", "cls_token", "blocks.0.norm1.weight", "blocks.1.norm1.weight", "norm.weight", "head.weight"], ["stem", "stem", "stem", 0, 1, "head", "head"]),
        ):
            where, count = self.places(*names)
            self.assertEqual([where[n] for n in names], want)
            self.assertEqual(count, 2)

    def test_positional_and_class_embeddings_are_known(self):
        for name, want in (("visual.positional_embedding", True), ("cls_token", True), ("pos_embed", True), ("embeddings.position_embeddings.weight", True),
                           ("token_embedding.weight", False), ("conv1.weight", False)):
            self.assertEqual(blocks.is_embedding(name), want, name)

    def test_globs_are_those_of_path_match(self):
        for glob, name, want in (("visual.*", "visual.ln.weight", True), ("*.bias", "a.bias", True), ("a[0-2]", "a1", True), ("a[^0-2]", "a1", False),
                                 ("a?", "ab", True), ("a", "ab", False), (r"a\*", "a*", True)):
            self.assertEqual(blocks.matches(glob, name), want, glob)


class FaultTest(unittest.TestCase):
    def test_the_authors_own_lines_come_first(self):
        home = os.path.dirname(os.path.abspath(__file__))
        try:
            json.loads("{")
        except ValueError as e:
            f = fault.from_exception(e, home)
        self.assertEqual((f.kind, f.file, f.line > 0), ("internal", os.path.abspath(__file__), True))
        self.assertTrue(f.detail.startswith("in the plugin:"))
        self.assertEqual(f.detail.count(__file__), 1)  # and are not said again
        self.assertIn("decoder.py", f.detail)
        self.assertIn("JSONDecodeError", f.msg)

    def test_a_missing_module_says_how_to_get_it(self):
        try:
            import no_such_module_xyz  # noqa: F401
        except ImportError as e:
            f = fault.from_exception(e, "/")
        self.assertEqual(f.kind, "unavailable")
        self.assertIn("-m pip install no_such_module_xyz", f.hint)


class ServeTest(unittest.TestCase):
    def test_a_test_may_import_a_plugin(self):
        folder = tempfile.mkdtemp()
        with open(os.path.join(folder, "plugin.py"), "w") as f:
            f.write("import tandem\ntandem.serve(tandem.Loss('mine', len))\n")
        for args, want in ((["-c", "import plugin; print('tested')"], "tested"), (["plugin.py"], "losses/mine")):
            out = subprocess.run([sys.executable, *args], cwd=folder, env=dict(os.environ, PYTHONPATH=os.pathsep.join([folder, *sys.path])),
                                 capture_output=True, text=True)
            self.assertIn(want, out.stdout, out.stderr)


class DescribeTest(unittest.TestCase):
    def test_imports_are_read_from_the_sources(self):
        folder = tempfile.mkdtemp()
        for name, text in (("plugin.py", "import os, model\nimport numpy as np\n"), ("model.py", "def f():\n    from torch.nn import functional\n    from . import x\n")):
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
        self.assertEqual(describe.imports(folder), {"numpy", "torch"})

    def test_versions_name_what_runs_the_plugin(self):
        folder = tempfile.mkdtemp()
        with open(os.path.join(folder, "plugin.py"), "w") as f:
            f.write("import grpc\n")
        v = describe.versions(folder, "loss")
        self.assertEqual(v["numpy"], np.__version__)
        self.assertIn("python", v)
        self.assertIn("+", v["tandem-sdk"])


if __name__ == "__main__":
    unittest.main()
