"""Where a parameter stands on the way from input to embedding, read from its name: stem, a block, or head."""

import re

from .fault import Fault

STEM, HEAD = "stem", "head"

_EMBEDDING = re.compile(r"(^|\.)(pos_emb|position_emb|positional_emb|position_ids|class_emb|cls_token|cls_emb|class_token|cls_pos|dist_token|reg_token|mask_token)")
_STEM = re.compile(r"embed|patch|stem|token|position|(^|[._])pre([._]|$)|ln_pre|norm_pre|pre_la?y", re.I)
_HEAD = {"proj", "text_projection", "visual_projection", "ln_post", "ln_final", "ln_f", "head", "fc", "fc_norm", "attnpool", "attn_pool",
         "norm", "final_norm", "norm_f", "final_layer_norm", "post_layernorm", "pooler", "classifier", "layernorm", "layer_norm"}
_NUMBERED = re.compile(r"^(layer|layers|stage|stages|block|blocks)_?(\d+)$")


def is_embedding(name):
    """Reports whether a parameter is a positional or class embedding, judged by its name."""
    return bool(_EMBEDDING.search(name))


def place(sizes):
    """Returns for each parameter STEM, HEAD or the number of its block from 0, and the number of blocks.

    sizes has the number of scalars by name, in order of registration. The blocks are the numbered modules
    (resblocks.0 …, layer1 …) with the most parameters.
    """
    numbered = {}
    for name in sizes:
        container, index = _numbered(name)
        if index is not None:
            numbered.setdefault(container, {}).setdefault(index, []).append(name)
    weight = {c: sum(sizes[n] for names in by.values() for n in names) for c, by in numbered.items() if len(by) > 1}
    blocks, count = {}, 0
    if weight:
        chosen = numbered[max(weight, key=weight.get)]
        for number, index in enumerate(sorted(chosen)):
            blocks.update(dict.fromkeys(chosen[index], number))
        count = len(chosen)
    out, seen = {}, False
    for name in sizes:
        if name in blocks:
            out[name], seen = blocks[name], True
        elif not blocks or _STEM.search(name):
            out[name] = STEM
        elif _HEAD & set(name.lower().split(".")):
            out[name] = HEAD
        else:
            out[name] = HEAD if seen else STEM
    return out, count


def _numbered(name):
    parts = name.split(".")
    for i, part in enumerate(parts[:-1]):
        if part.isdigit():
            return ".".join(parts[:i]), int(part)
        m = _NUMBERED.match(part)
        if m:
            return ".".join([*parts[:i], m.group(1)]), int(m.group(2))
    return "", None


def matches(glob, name):
    """Reports whether a name matches a glob of Go's path.Match, where names have no slashes."""
    return _pattern(glob).fullmatch(name) is not None


def _pattern(glob):
    out, i = "", 0
    while i < len(glob):
        c = glob[i]
        i += 1
        if c == "*":
            out += "[^/]*"
        elif c == "?":
            out += "[^/]"
        elif c == "\\" and i < len(glob):
            out += re.escape(glob[i])
            i += 1
        elif c == "[":
            end = glob.find("]", i + 1)
            if end < 0:
                raise Fault("invalid", f'"{glob}" is not a glob')
            out += "[" + glob[i:end].replace("\\", "\\\\") + "]"
            i = end + 1
        else:
            out += re.escape(c)
    try:
        return re.compile(out, re.S)
    except re.error as e:
        raise Fault("invalid", f'"{glob}" is not a glob: {e}') from None
