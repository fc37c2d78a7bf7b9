"""Writes the files of core/engine/weights/torchfile/testdata: files of PyTorch, honest and hostile, and the tensors of the
honest ones as safetensors. Run it with PyTorch 2.x and safetensors: python tools/goldens/torchfile/torchfile.py"""

import collections, io, os, pickle, struct, zipfile

import torch
from safetensors.torch import save_file

OUT = os.path.join(os.path.dirname(__file__), "../../../core/engine/weights/torchfile/testdata")
os.makedirs(OUT, exist_ok=True)
torch.manual_seed(0)


def at(name):
    return os.path.join(OUT, name)


def expect(name, tensors):
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, at(name + ".safetensors"))


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 2, 2, bias=False)
        self.proj = torch.nn.Parameter(torch.randn(2, 4))
        self.bn = torch.nn.BatchNorm1d(4)

    def forward(self, x):
        return self.bn(self.conv1(x).mean((2, 3)) @ self.proj)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Tower()
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5))
        self.register_buffer("context_length", torch.tensor(77))

    def forward(self, x):
        return self.visual(x) * self.logit_scale.exp()


model = Model()

# state_dict: dtypes, a transposed view, a view into a shared storage, a scalar, an empty tensor.
base = torch.randn(4, 6)
state = collections.OrderedDict(model.state_dict())
state.update(
    transposed=base.t(), part=base[1:3, 2:5], half=base.half(), brain=base.bfloat16(), ids=torch.arange(5), empty=torch.zeros(0, 3),
    flags=torch.tensor([True, False]), double=torch.tensor(1.0).double(), axis=base[:1, :],
)
torch.save(state, at("state_dict.pt"))
torch.save(state, at("legacy.bin"), _use_new_zipfile_serialization=False)
expect("state_dict", state)

# open_clip's checkpoint: a dict with other things beside.
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
model(torch.randn(3, 3, 4, 4)).sum().backward()
optimizer.step()
wrapped = {"module." + k: v for k, v in model.state_dict().items()}
torch.save({"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": optimizer.state_dict(), "shape": torch.Size([2, 3])}, at("epoch_3.pt"))
expect("epoch_3", {"state_dict." + k: v for k, v in wrapped.items()})

# Parameters themselves, as some home-made trainers save them.
torch.save({"proj": model.visual.proj, "list": [model.logit_scale]}, at("parameters.pth"))
expect("parameters", {"proj": model.visual.proj, "list.0": model.logit_scale})

# OpenAI's form: a TorchScript archive in half precision.
jit = torch.jit.script(Model().eval().half())
jit.save(at("jit.pt"))
expect("jit", {k: v for k, v in jit.state_dict().items()})


class Runs:
    def __init__(self, f, *args):
        self.call = (f, args)

    def __reduce__(self):
        return self.call


class Settings:
    pass


def hostile(name, value, **options):
    torch.save({"w": torch.ones(2), "x": value}, at("hostile_" + name + ".pt"), **options)


hostile("system", Runs(os.system, "touch /tmp/tandem-was-here"))
hostile("eval", Runs(eval, "1+1"), pickle_protocol=4)
hostile("legacy", Runs(exec, "1"), _use_new_zipfile_serialization=False)
Settings.__module__ = "argparse"
import argparse

hostile("namespace", argparse.Namespace(lr=1))


def archive(name, pickled, storages, method=zipfile.ZIP_STORED, order=b"little"):
    with zipfile.ZipFile(at("hostile_" + name + ".pt"), "w", method) as z:
        z.writestr("m/data.pkl", pickled)
        z.writestr("m/byteorder", order)
        for key, data in storages.items():
            z.writestr("m/data/" + key, data)


def tensor(key, numel, offset, size, stride):
    """The pickle of {"w": tensor}, by hand."""
    def number(n):
        return b"\x8a\x08" + struct.pack("<q", n)
    def text(t):
        return b"X" + struct.pack("<I", len(t)) + t.encode()
    body = b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(numel) + b"tQ"
    body += number(offset) + b"(" + b"".join(map(number, size)) + b"t(" + b"".join(map(number, stride)) + b"t\x89}tRs."
    return body


four = struct.pack("<4f", 1, 2, 3, 4)
archive("expanded", tensor("0", 4, 0, [1 << 20, 1 << 20], [0, 0]), {"0": four})
archive("beyond", tensor("0", 4, 3, [2], [1]), {"0": four})
archive("stride", tensor("0", 4, 0, [2], [1 << 62]), {"0": four})
archive("short", tensor("0", 1 << 40, 0, [1 << 40], [1]), {"0": four})
archive("missing", tensor("7", 4, 0, [4], [1]), {"0": four})
archive("packed", tensor("0", 4, 0, [4], [1]), {"0": four}, zipfile.ZIP_DEFLATED)
archive("order", tensor("0", 4, 0, [4], [1]), {"0": four}, order=b"big")
archive("cycle", b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.", {"0": four})
archive("shared", b"\x80\x02]q\x00" + b"".join(b"](h%sh%sK\x00eq%s" % (bytes([i]), bytes([i]), bytes([i + 1])) for i in range(60)) + b".", {"0": four})
archive("cut", tensor("0", 4, 0, [4], [1])[:-20], {"0": four})
archive("huge_text", b"\x80\x02X\xff\xff\xff\x7fabc.", {"0": four})
archive("empty", b"\x80\x02}.", {"0": four})
