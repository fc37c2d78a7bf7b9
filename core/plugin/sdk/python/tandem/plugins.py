"""The three things that an author declares. They hold what was declared; the serving modules do the work."""

import dataclasses

from . import config as _config
from . import describe as _describe

PROTOCOL = 2

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class _Plugin:
    kind = ""

    def __init__(self, name, *, config=None, version="0.1.0", summary="", relations=(), files=(), capabilities=()):
        self.name, self.config, self.version, self.summary = name, config, version, summary or name
        self.relations, self.files, self.capabilities = list(relations), list(files), list(capabilities)
        self.schema = _config.schema(config)

    def descriptor(self):
        """Returns the descriptor as the runner reads it."""
        d = {"kind": self.kind, "name": self.name, "version": self.version, "protocol": PROTOCOL, "summary": self.summary,
             "schema": self.schema, "versions": _describe.versions(_describe.home(), self.kind, _describe.script())}
        for key in ("relations", "files", "capabilities"):
            if getattr(self, key):
                d[key] = getattr(self, key)
        d.update(self._more())
        return d

    def _more(self):
        return {}


class Encoder(_Plugin):
    """An image or text encoder in PyTorch.

    build(config, embed_dim) returns an nn.Module. Its forward takes pictures, f32 [B, 3, S, S], normalised by mean and
    std, or what tokenize(texts) returns (a tensor, a tuple of arguments or a dict of keyword arguments), and returns
    [B, embed_dim]. The SDK scales the rows to unit length. With modality None the encoder can be either tower; build
    then takes a keyword modality, which is image or text.

    image_size, mean, std, tokenize, count_tokens, context_length, vocab_size and token_count may be given here, as
    values or (except the two functions) as functions of the config, or else be attributes of the module.

      image_size      side of the square pictures
      mean, std       of the three channels, pixels being 0 … 1; default: CLIP's
      tokenize        texts → what forward takes
      count_tokens    texts → the number of tokens of each, uncut, begin and end included (optional)
      context_length  most tokens of a text
      vocab_size      tokens that there are
      block           name of a parameter → number of its block from 0, "stem" or "head", for freeze and layer decay;
                      None lets the SDK read it from the names
      embedding       name of a parameter → whether it is a positional or class embedding, which is not decayed;
                      None lets the SDK read it from the names
      outputs         ["tokens"] when the module has forward_tokens(x) → (embedding, tokens [B, T, D], lengths [B] or None)
      vocabulary      build takes a keyword captions, those of the training data, to train a tokenizer on; the module
                      then has get_vocabulary() → JSON-able state and set_vocabulary(state)
    """

    kind = "encoder"

    def __init__(self, name, build, *, modality="image", image_size=None, mean=None, std=None, tokenize=None, count_tokens=None,
                 context_length=None, vocab_size=None, token_count=None, block=None, embedding=None, outputs=(), vocabulary=False, **common):
        if modality not in ("image", "text", None):
            raise ValueError(f"modality is {modality!r}, want image, text, or None for an encoder that can be either")
        super().__init__(name, **common)
        self.build, self.modality, self.vocabulary = build, modality, vocabulary
        self.tokenize, self.count_tokens, self.block, self.embedding = tokenize, count_tokens, block, embedding
        self.outputs = list(outputs)
        self.given = {"image_size": image_size, "mean": mean, "std": std, "context_length": context_length,
                      "vocab_size": vocab_size, "token_count": token_count}
        more = ["freeze", "groups", "ema", "buckets"] + (["vocabulary"] if vocabulary else [])
        self.capabilities += [c for c in more if c not in self.capabilities]

    def _more(self):
        d = {"modality": self.modality} if self.modality else {}
        if self.outputs:
            d["outputs"] = self.outputs
        return d


class Loss(_Plugin):
    """A loss of a batch of pairs.

    compute(x, p, config) with x.image and x.text, [B, D] each, and whatever inputs lists (x.text_negatives,
    x.groups, …); p has the learnable parameters. params(config), or a dict, gives their initial values: numbers or
    arrays by name. With backend "torch", x and p have tensors, compute returns

      value                     a scalar that autograd differentiates, or
      value, parts              and its terms by name: scalars, or B values each, one a sample, or
      value, parts, scalars     and what is worth watching, by name

    With backend "numpy", x and p have arrays and compute returns value, gradients, parts, scalars (the last two may be
    left out); gradients has image, text, the differentiable inputs and the parameters by name.
    """

    kind = "loss"

    def __init__(self, name, compute, *, params=None, inputs=(), backend="torch", **common):
        if backend not in ("torch", "numpy"):
            raise ValueError(f"backend is {backend!r}, want torch or numpy")
        super().__init__(name, **common)
        self.compute, self.params, self.inputs, self.backend = compute, params, list(inputs), backend
        self.capabilities += [c for c in ("buckets",) if c not in self.capabilities]

    def _more(self):
        return {"inputs": self.inputs} if self.inputs else {}


class Dataset(_Plugin):
    """A dataset of pictures and captions.

    open(config) returns an object with __len__ and __getitem__(i) → Sample (or a tuple image, captions). It may also
    have targets = {name: [classes]}, negatives = K, note, remarks, skipped, skips, describe(i) → Sample without its image (so
    that captions are known without opening pictures), digest() and alter(pixels, random) → pixels.
    """

    kind = "dataset"

    def __init__(self, name, open, *, background=(255, 255, 255), on_error="skip", sizes=(), view2=True, negatives=False, **common):
        if on_error not in ("skip", "fail"):
            raise ValueError(f"on_error is {on_error!r}, want skip or fail")
        super().__init__(name, **common)
        self.open, self.background, self.on_error, self.sizes = open, tuple(background), on_error, list(sizes)
        self.capabilities += (["view2"] if view2 else []) + (["negatives"] if negatives else []) + ["augment"]

    def _more(self):
        return {"sizes": self.sizes} if self.sizes else {}


@dataclasses.dataclass
class Sample:
    """One picture with its captions.

    image is a PIL image, an array u8 [H, W, 3] or [H, W], the path of a file, or a function that returns one of these.
    key is stable and unique; samples of one group are right answers for one another. labels has class ids by target,
    -1 for none. negatives are K texts that do not fit.
    """

    image: object
    captions: object  # a text, or a list of texts
    key: str = ""
    group: int | None = None
    labels: dict = dataclasses.field(default_factory=dict)
    negatives: list = dataclasses.field(default_factory=list)
