"""Tests of the training in PyTorch: python -m unittest tests.test_torch, in the SDK's folder."""

import dataclasses
import os
import tempfile
import threading
import unittest

import numpy as np
import torch
from torch import nn

import tandem
from tandem import protocol as pb
from tandem.buckets import Buckets
from tandem.checkpoint import Checkpoint
from tandem.fault import Fault
from tandem.tower import EMBED, EVAL, RAW, TRAIN, Tower


@dataclasses.dataclass
class Config:
    width: int = tandem.field(4, help="channels")


def build(config, embed_dim):
    w = config.width
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(3, w, 4, 4))
    net.add_module("layer1", nn.Sequential(nn.Conv2d(w, w, 3, 1, 1), nn.BatchNorm2d(w), nn.GELU()))
    net.add_module("layer2", nn.Sequential(nn.Conv2d(w, w, 3, 1, 1), nn.BatchNorm2d(w), nn.GELU(), nn.Dropout(0.2)))
    net.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()))
    net.add_module("head", nn.Linear(4 * w, embed_dim))
    return net


PLUGIN = tandem.Encoder("net", build, config=Config, image_size=16)


def tower(optimizer=None, plugin=PLUGIN, seed=3, precision="f32", freeze=None, **optim):
    o = pb.Optimizer(**{"name": "adamw", "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.98, "eps": 1e-6, **optim})
    q = pb.EncoderConfig(embed_dim=6, seed=seed, optimizer=optimizer or o, compute=pb.Compute(device="cpu", threads=1, precision=precision))
    if freeze is not None:
        q.freeze.CopyFrom(freeze)
    return Tower(plugin, Config(), q)


def pictures(seed=0, n=5):
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def learn(t, step, lr=0.01, n=5):
    x = pictures(step, n)
    _, ticket = t.forward(t.images(x), n, TRAIN, step, 0)
    t.backward(ticket, np.random.default_rng(step).standard_normal((n, 6)).astype(np.float32))
    t.trained.step(step, lr, 1.0)


def bits(t):
    return {n: v.detach().clone() for n, v in t.model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


class Going:
    """The context of a call that is not cancelled."""

    def is_active(self):
        return True


def bucketed(size=50, **more):
    t = tower(**more)
    t.buckets = Buckets(t.trained, t.trained.order(), size)
    return t


class BucketsTest(unittest.TestCase):
    def test_steps_with_buckets_have_the_bits_of_steps(self):
        for more in ({}, {"name": "sgd", "momentum": 0.9}, {"ema_decay": 0.5}, {"freeze": pb.Freeze(params=["*bias"])}):
            plain, other = tower(**more), bucketed(**more)
            self.assertEqual(sum(other.buckets.sizes), sum(p.numel() for p in other.trained.params.values()))
            self.assertGreater(len(other.buckets.sizes), 4)
            for step in (1, 2):
                for t in (plain, other):
                    for micro in range(2):
                        _, ticket = t.forward(t.images(pictures(10 * step + micro)), 5, TRAIN, step, micro)
                        grad = np.random.default_rng(micro).standard_normal((5, 6)).astype(np.float32)
                        t.backward(ticket, grad, last=t is other and micro == 1)
                given = [other.buckets.gradients(k, Going()) for k in range(len(other.buckets.sizes))]
                self.assertAlmostEqual(sum(float(np.square(g, dtype=np.float64).sum()) for g in given) / plain.trained.grad_norm(), 1, 5)
                other.buckets.replace([2 * g for g in given])
                plain.trained.step(step, 0.01, 0.5)
                other.trained.step(step, 0.01, 0.25)
                other.buckets.stepped()
                self.assertTrue(equal(bits(plain), bits(other)))
            self.assertFalse(any(other.buckets.gradients(0, Going())))

    def test_the_last_layers_come_before_the_first_are_done(self):
        t = bucketed(100000)
        t.buckets = Buckets(t.trained, t.trained.order(), 4 * 6 * 6)
        _, ticket = t.forward(t.images(pictures()), 5, TRAIN, 1, 0)
        early = []
        first = next(iter(t.trained.params.values()))  # its gradient comes last
        first.register_hook(lambda g: early.append((t.buckets.gradients(0, Going()), set(t.buckets.missing))))
        t.backward(ticket, np.ones((5, 6), np.float32), last=True)
        gradients, missing = early[0]
        self.assertIn("conv1.weight", missing)
        self.assertNotIn("head.weight", missing)
        self.assertTrue(np.array_equal(gradients, t.buckets.gradients(0, Going())))

    def test_gradients_wait_for_the_last_pass(self):
        t = bucketed()
        _, ticket = t.forward(t.images(pictures()), 5, TRAIN, 1, 0)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(t.buckets.gradients(0, Going())))
        thread.start()
        thread.join(0.1)
        self.assertEqual(answers, [])
        t.backward(ticket, np.ones((5, 6), np.float32), last=True)
        thread.join()
        self.assertTrue(answers[0].any())

    def test_buckets_of_other_sizes_are_refused(self):
        t = bucketed()
        with self.assertRaisesRegex(Fault, "bucket 99 of"):
            t.buckets.gradients(99, Going())
        with self.assertRaisesRegex(Fault, "want f32"):
            t.buckets.replace([np.zeros(1, np.float32)])


class TrainingTest(unittest.TestCase):
    def test_averages_equal_swa_utils_after_100_steps(self):
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        t = tower(ema_decay=0.97)
        theirs = AveragedModel(t.model, multi_avg_fn=get_ema_multi_avg_fn(0.97))
        for step in range(1, 101):
            learn(t, step)
            theirs.update_parameters(t.model)
        for name, p in theirs.module.named_parameters():
            self.assertLess((p - t.trained.average[name]).abs().max().item(), 1e-6, name)

    def test_optimisers_are_those_of_the_definition(self):
        for name, more in (("adamw", {}), ("sgd", {"momentum": 0.9}), ("sgd", {}), ("lion", {"beta2": 0.99})):
            t = tower(name=name, **more)
            o, want = t.trained.o, {n: p.detach().double().clone() for n, p in t.params.items()}
            m, v = ({n: torch.zeros_like(p) for n, p in want.items()} for _ in range(2))
            for step in range(1, 6):
                _, ticket = t.forward(t.images(pictures(step)), 5, TRAIN, step, 0)
                t.backward(ticket, np.random.default_rng(step).standard_normal((5, 6)).astype(np.float32))
                for n, p in want.items():
                    g, lr, wd = t.params[n].grad.double() * 0.5, 0.01, 0.1 if p.dim() >= 2 else 0.0
                    if name == "adamw":
                        m[n] = o.beta1 * m[n] + (1 - o.beta1) * g
                        v[n] = o.beta2 * v[n] + (1 - o.beta2) * g * g
                        p -= lr * (wd * p + m[n] / (1 - o.beta1**step) / ((v[n] / (1 - o.beta2**step)).sqrt() + o.eps))
                    elif name == "sgd":
                        v[n] = o.momentum * v[n] + g + wd * p
                        p -= lr * v[n]
                    else:
                        p -= lr * ((o.beta1 * m[n] + (1 - o.beta1) * g).sign() + wd * p)
                        m[n] = o.beta2 * m[n] + (1 - o.beta2) * g
                t.trained.step(step, 0.01, 0.5)
                with torch.no_grad():  # the gradients of the next step are those of the same weights
                    for n, p in want.items():
                        self.assertLess((t.params[n] - p).abs().max().item(), 3e-5 if name != "lion" else 1e-4, f"{name} {n} {step}")
                        t.params[n].copy_(p)

    def test_groups_and_layer_decay_set_rates_by_name(self):
        o = pb.Optimizer(name="adamw", weight_decay=0.1, beta1=0.9, beta2=0.98, eps=1e-6, layer_decay=0.5)
        o.groups.add(params=["head.*"], lr_scale=10)
        o.groups.add(params=["*.bias", "head.weight"], weight_decay=0.3)
        t = tower(o).trained
        rates = {n: t.scales[n] for n in ("conv1.weight", "layer1.0.weight", "layer2.0.weight", "head.weight")}
        self.assertEqual(rates, {"conv1.weight": 0.125, "layer1.0.weight": 0.25, "layer2.0.weight": 0.5, "head.weight": 10.0})
        self.assertEqual([t.decays[n] for n in ("conv1.weight", "conv1.bias", "head.weight", "head.bias", "layer1.1.weight")], [0.1, 0.3, 0.1, 0.0, 0.0])
        o.groups.add(params=["nothing.*"])
        with self.assertRaises(tandem.Fault) as caught:
            tower(o)
        self.assertEqual((caught.exception.kind, caught.exception.path), ("invalid", "optimizer.groups[2].params"))

    def test_decay_is_that_of_open_clips_groups(self):
        try:
            import open_clip
        except ImportError:
            self.skipTest("open_clip is not installed")

        def visual(config, embed_dim):
            return open_clip.model._build_vision_tower(embed_dim, open_clip.CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=16))

        t = tower(plugin=tandem.Encoder("vit", visual, config=Config, image_size=16), decay_embeddings=True).trained
        for n, p in t.all.items():  # open_clip_train.main: gain or bias
            excluded = p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
            self.assertEqual(t.decays[n], 0.0 if excluded else 0.1, n)
        t = tower(plugin=tandem.Encoder("vit", visual, config=Config, image_size=16)).trained
        self.assertEqual([n for n, d in t.decays.items() if d == 0 and t.all[n].ndim >= 2], ["positional_embedding"])
        self.assertEqual(t.count, 2)
        self.assertEqual({t.where[n] for n in ("conv1.weight", "positional_embedding", "class_embedding", "ln_pre.weight")}, {"stem"})
        self.assertEqual({t.where[n] for n in ("ln_post.weight", "proj")}, {"head"})

    def test_frozen_parameters_and_their_statistics_stay(self):
        f = pb.Freeze(params=["head.bias"])
        f.blocks = 1
        t = tower(freeze=f)
        self.assertEqual(t.trained.frozen, {"conv1.weight", "conv1.bias", "layer1.0.weight", "layer1.0.bias", "layer1.1.weight", "layer1.1.bias", "head.bias"})
        before = bits(t)
        learn(t, 1)
        changed = {n for n, v in bits(t).items() if not torch.equal(v, before[n])}
        self.assertEqual(changed, {"layer2.0.weight", "layer2.0.bias", "layer2.1.weight", "layer2.1.bias", "layer2.1.running_mean", "layer2.1.running_var",
                                   "layer2.1.num_batches_tracked", "head.weight"})
        everything = tower(freeze=pb.Freeze(all=True))
        _, ticket = everything.forward(everything.images(pictures()), 5, TRAIN, 1, 0)
        self.assertEqual((ticket, everything.trained.grad_norm()), (0, 0.0))


class ModesTest(unittest.TestCase):
    def test_embed_computes_what_train_does_and_changes_nothing(self):
        t = tower()
        before, x = bits(t), t.images(pictures())
        embedded, ticket = t.forward(x, 5, EMBED, 2, 1)
        self.assertEqual(ticket, 0)
        self.assertTrue(equal(before, bits(t)))
        trained, ticket = t.forward(x, 5, TRAIN, 2, 1)
        self.assertTrue(ticket and np.array_equal(embedded, trained))
        self.assertFalse(equal(before, bits(t)))
        other, _ = t.forward(x, 5, EMBED, 3, 1)
        self.assertFalse(np.array_equal(embedded, other))  # dropout

    def test_raw_rows_have_their_own_length(self):
        t = tower()
        x = t.images(pictures())
        raw, unit = t.forward(x, 5, RAW, 0, 0)[0], t.forward(x, 5, EVAL, 0, 0)[0]
        self.assertTrue(np.allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6))
        self.assertGreater(abs(np.linalg.norm(raw, axis=1) - 1).max(), 1e-3)

    def test_averaged_weights_serve_evaluations(self):
        t = tower(ema_decay=0.9)
        x = t.images(pictures())
        for step in (1, 2, 3):
            learn(t, step)
        live, averaged = t.forward(x, 5, EVAL, 0, 0)[0], t.forward(x, 5, EVAL, 0, 0, ema=True)[0]
        self.assertFalse(np.array_equal(live, averaged))
        self.assertTrue(np.array_equal(live, t.forward(x, 5, EVAL, 0, 0)[0]))
        for broken in (lambda: t.forward(x, 5, TRAIN, 0, 0, ema=True), lambda: tower().forward(x, 5, EVAL, 0, 0, ema=True)):
            with self.assertRaises(tandem.Fault) as caught:
                broken()
            self.assertEqual(caught.exception.kind, "invalid")

    def test_bf16_gives_f32_rows_close_to_those_of_f32(self):
        a, b = tower().forward(tower().images(pictures()), 5, EVAL, 0, 0)[0], tower(precision="bf16").forward(tower().images(pictures()), 5, EVAL, 0, 0)[0]
        self.assertEqual(b.dtype, np.float32)
        self.assertFalse(np.array_equal(a, b))
        self.assertLess(abs(a - b).max(), 0.05)

    def test_tokens_have_unit_rows_up_to_their_length_and_a_gradient(self):
        class Bag(nn.Module):
            def __init__(self, dim):
                super().__init__()
                self.table = nn.Embedding(9, dim)

            def forward_tokens(self, ids):
                lengths = (ids > 0).sum(1)
                x = self.table(ids)
                return x.sum(1), x, lengths

            def forward(self, ids):
                return self.forward_tokens(ids)[0]

        plugin = tandem.Encoder("bag", lambda c, d: Bag(d), config=Config, modality="text", context_length=4, token_count=4, outputs=["tokens"],
                                tokenize=lambda texts: torch.tensor([[len(w) for w in t.split()][:4] + [0] * (4 - len(t.split())) for t in texts]))
        t = tower(plugin=plugin, name="sgd", weight_decay=0)
        texts = ["a bb", "ccc d ee"]
        z, rows, lengths, ticket = t.forward(t.texts(texts), 2, TRAIN, 0, 0, tokens=True)
        self.assertEqual((rows.shape, lengths.tolist()), ((2, 4, 6), [2, 3]))
        norms = np.linalg.norm(rows, axis=2)
        self.assertTrue(np.allclose(norms, [[1, 1, 0, 0], [1, 1, 1, 0]], atol=1e-6))
        before = t.trained.grad_norm()
        t.backward(ticket, np.zeros_like(z), np.ones_like(rows))
        self.assertEqual(before, 0)
        self.assertGreater(t.trained.grad_norm(), 0)


class CheckpointTest(unittest.TestCase):
    def setUp(self):
        self.path = os.path.join(tempfile.mkdtemp(), "c.safetensors")

    def test_a_resumed_tower_takes_the_same_steps_to_the_bit(self):
        for more in ({}, {"name": "sgd", "momentum": 0.9}, {"name": "lion"}, {"ema_decay": 0.9}):
            a, b = tower(**more), tower(seed=9, **more)
            for step in (1, 2, 3):
                learn(a, step)
            Checkpoint(a).save(self.path)
            Checkpoint(b).load(self.path)
            for step in (4, 5):
                learn(a, step)
                learn(b, step)
            self.assertTrue(equal(bits(a), bits(b)), more)
            if a.trained.average:
                self.assertTrue(equal(a.trained.average, b.trained.average))

    def test_a_refused_file_changes_nothing(self):
        a = tower()
        learn(a, 1)
        Checkpoint(a).save(self.path)
        with open(self.path, "rb") as f:
            whole = f.read()
        before = bits(a)
        for text, kind in ((whole[: len(whole) // 2], "corrupt"), (whole.replace(b'"modality":"image"', b'"modality":"texts"'), "invalid"),
                           (whole.replace(b'\\"width\\": 4', b'\\"width\\": 5'), "invalid"), (whole.replace(b'"head.bias"', b'"head.bios"'), "invalid")):
            with open(self.path, "wb") as f:
                f.write(text)
            with self.assertRaises(tandem.Fault) as caught:
                Checkpoint(a).load(self.path)
            self.assertEqual(caught.exception.kind, kind)
        self.assertTrue(equal(before, bits(a)))

    def test_published_weights_are_taken_by_name(self):
        from tandem import safetensors

        a, b = tower(seed=1), tower(seed=2)
        safetensors.write(self.path, {"visual." + n: t.numpy() for n, t in a.model.state_dict().items()}, {})
        learn(b, 1)
        Checkpoint(b).load(self.path)
        self.assertTrue(all(torch.equal(p, b.params[n]) for n, p in a.params.items()))
        self.assertEqual(sum(t.abs().sum().item() for t in b.trained.state["m"].values()), 0)


class ProbeTest(unittest.TestCase):
    def test_a_view_of_a_parameter_may_be_the_input_of_a_module(self):
        """As the queries of SigLIP's attention pooling are."""

        class Pool(nn.Module):
            def __init__(self, dim):
                super().__init__()
                self.query, self.dense = nn.Parameter(torch.ones(1, 3)), nn.Linear(3, dim)

            def forward(self, x):
                return self.dense(self.query.expand(len(x), -1)) + self.dense(x.mean((2, 3)))

        t = tower(plugin=tandem.Encoder("pool", lambda config, dim: Pool(dim), config=Config, image_size=16))
        self.assertGreater(t.flops, 0)
        learn(t, 1)


class ErrorsTest(unittest.TestCase):
    def test_a_network_of_another_width_is_reported_before_training(self):
        with self.assertRaises(tandem.Fault) as caught:
            tower(plugin=tandem.Encoder("net", lambda c, d: build(c, d + 1), config=Config, image_size=16))
        self.assertIn("the network gives (1, 7), want (1, 6)", caught.exception.msg)

    def test_a_glob_that_freezes_nothing_is_refused(self):
        with self.assertRaises(tandem.Fault) as caught:
            tower(freeze=pb.Freeze(params=["visual.*"]))
        self.assertEqual((caught.exception.kind, caught.exception.path), ("invalid", "freeze.params"))


if __name__ == "__main__":
    unittest.main()
