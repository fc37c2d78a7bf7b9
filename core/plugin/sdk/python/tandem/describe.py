"""What a plugin says of itself: its descriptor, the versions of what runs it, and a page for a person."""

import ast
import hashlib
import json
import os
import platform
import re
import sys

# Names of modules whose packages have another name. Others are looked for among the installed ones.
_PACKAGES = {"PIL": "pillow", "open_clip": "open_clip_torch", "cv2": "opencv-python", "yaml": "PyYAML", "sklearn": "scikit-learn", "skimage": "scikit-image"}
# What any plugin that computes depends on, where it is installed.
_ALWAYS = ("numpy", "torch")


def versions(home, kind, script=""):
    """Returns the versions of everything that runs a plugin, without importing any of it: Python, this SDK with a
    digest of its sources, and the packages that the code in the plugin's folder imports, with what these need. script
    is the plugin's own file."""
    out = {"python": platform.python_version(), "tandem-sdk": _sdk_version()}
    names = set(_ALWAYS if kind != "dataset" else ("numpy", "pillow"))
    for module in sorted(imports(home, script)):
        names.update(_packages_of(module))
    for name in sorted(names):
        _add(out, name, deep=name not in _ALWAYS)
    return out


def print_versions(path, kind):
    """Prints what versions returns as JSON, for the runner, which knows the rest of the descriptor already."""
    print(json.dumps(versions(os.path.dirname(os.path.abspath(path)), kind, os.path.abspath(path))))


def _add(out, name, deep):
    from importlib import metadata

    try:
        dist = metadata.distribution(name)
    except Exception:  # not installed, or its metadata is broken: importing it will tell
        return
    out[re.sub(r"[-_.]+", "-", dist.metadata["Name"] or name).lower()] = dist.version
    if not deep:
        return
    for need in dist.requires or []:
        if "extra ==" not in need and "extra==" not in need:
            other = re.match(r"[A-Za-z0-9._-]+", need)
            if other:
                _add(out, other.group(), deep=False)


def imports(home, script=""):
    """Returns the top-level modules that the Python code in a folder imports, those of the folder and of the standard
    library left out."""
    found, own = set(), set()
    for folder, dirs, files in os.walk(home):
        dirs[:] = sorted(d for d in dirs if not d.startswith(".") and d not in ("__pycache__", "node_modules")
                         and not os.path.exists(os.path.join(folder, d, "pyvenv.cfg")))
        if folder == home:
            own.update(dirs)
        for name in sorted(files):
            if name.endswith(".py") or os.path.join(folder, name) == script:
                own.add(name.removesuffix(".py"))
                found.update(_imports_of(os.path.join(folder, name)))
    return {m for m in found if m not in own and m not in sys.stdlib_module_names and m != "tandem"}


def _imports_of(path):
    try:
        with open(path, "rb") as f:
            tree = ast.parse(f.read(), path)
    except (OSError, SyntaxError, ValueError):
        return set()
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            out.add(node.module.split(".")[0])
    return out


def _packages_of(module):
    from importlib import metadata

    name = _PACKAGES.get(module, module)
    try:
        metadata.distribution(name)
        return [name]
    except Exception:
        return metadata.packages_distributions().get(module, [])


def _sdk_version():
    from . import __version__

    folder, h = os.path.dirname(os.path.abspath(__file__)), hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        if name.endswith((".py", ".binpb")):
            with open(os.path.join(folder, name), "rb") as f:
                h.update(f"{name}\n".encode() + hashlib.sha256(f.read()).digest())
    return f"{__version__}+{h.hexdigest()[:16]}"


def script():
    """Returns the file of the plugin that runs."""
    return os.path.abspath(getattr(sys.modules.get("__main__"), "__file__", None) or sys.argv[0] or "plugin.py")


def home():
    """Returns the folder of the plugin that runs."""
    return os.path.dirname(script())


def usage(d):
    """Returns what a person reads who starts a plugin by hand."""
    folder = {"loss": "losses"}.get(d["kind"], d["kind"] + "s")
    what = f"{d['modality']} {d['kind']}" if d.get("modality") else d["kind"]
    lines = [f"{folder}/{d['name']} {d['version']}: {d['summary']}", "",
             f"This is a plugin of tandem ({what}, protocol {d['protocol']}). The runner starts it; by hand it does nothing.", "",
             "In a spec:", ""]
    ref = os.path.relpath(script())
    ref = ref if ref.startswith((".", "/")) else "./" + ref
    lines.append({"encoder": f"  {d.get('modality') or 'image'}: {{encoder: {ref}, with: {{…}}}}", "loss": f"  loss: {{plugin: {ref}, with: {{…}}}}",
                  "dataset": f"  data:\n    train: {{dataset: {ref}, with: {{…}}}}"}[d["kind"]])
    if d["schema"]:
        lines += ["", "Options of with:", ""]
        rows = [(f["name"], _type(f), _limits(f), f["help"]) for f in d["schema"]]
        widths = [max(len(r[i]) for r in rows) for i in range(3)]
        lines += ["  " + "  ".join([*(c.ljust(w) for c, w in zip(r, widths)), r[3]]) for r in rows]
    lines += ["", "Commands:", "", "  runner run SPEC.yaml", f"  runner plugin describe {ref}", "",
              "Flags: --describe prints the descriptor as JSON, --version the version."]
    return "\n".join(lines)


def _type(f):
    if f["type"] == "list" and f.get("len"):
        return f"list of {f['len']} {f['elem']}"
    return f"{f['type']} of {f['elem']}" if f["type"] in ("list", "map") else f["type"]


def _limits(f):
    parts = []
    if f.get("required"):
        parts.append("required")
    elif "default" in f:
        parts.append(f"default {json.dumps(f['default'], ensure_ascii=False).strip(chr(34))}")
    elif f["type"] in ("int", "float"):
        parts.append("default 0")
    elif f["type"] == "bool":
        parts.append("default false")
    least, most = f.get("min"), f.get("max")
    if least is not None and most is not None:
        parts.append(f"{least} to {most}")
    elif least is not None:
        parts.append(f"at least {least}")
    elif most is not None:
        parts.append(f"at most {most}")
    if f.get("enum"):
        parts.append("one of " + " ".join(f["enum"]))
    return ", ".join(parts)
