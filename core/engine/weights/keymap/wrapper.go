package keymap

import (
	"maps"
	"slices"
	"strings"

	"tandem/core/fault"
)

// wrappers lists the parts of names that training adds wherever it wraps a module: data parallelism, torch.compile,
// activation checkpoints. They mean nothing.
var wrappers = []string{"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}

// roots lists how names in CLIP models begin, whoever wrote them. What stands before one is the path of the model
// within another: "model.", "clip_model.", "student.".
var roots = []string{
	"visual.", "transformer.resblocks.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale", "logit_bias",
	"text.", "text_model.", "vision_model.", "visual_projection.",
}

// split takes a name apart: the path of the model that it is of, and the name within. Wrappers are left out. found is
// false when no name of CLIP is in it.
func split(name string) (prefix, bare string, found bool) {
	parts := strings.Split(name, ".")
	parts = slices.DeleteFunc(parts, func(p string) bool { return slices.Contains(wrappers, p) })
	name = strings.Join(parts, ".")
	at := 0
	for _, part := range parts {
		if part == "text_decoder" { // CoCa's: no model of its own
			break
		}
		for _, root := range roots {
			rest := name[at:]
			if strings.HasPrefix(rest, root) && (strings.HasSuffix(root, ".") || len(rest) == len(root) || rest[len(root)] == '.') {
				bare = rest
				for strings.HasPrefix(bare, "text.") { // OpenCLIP's CustomTextCLIP
					bare = bare[len("text."):]
				}
				return name[:at], bare, true
			}
		}
		at += len(part) + 1
	}
	return "", name, false
}

// stripNames maps the names of tensors without their wrappers to those in the file, and notes what is worth telling. A file may hold a
// model at several paths, one tower each; two models in one file are fault.Invalid, since nobody can tell which is meant.
func (k *File) stripNames() (map[string]string, error) {
	type group struct {
		names map[string]string
		tower bool
	}
	groups, others := map[string]*group{}, map[string]string{}
	for _, name := range k.f.Names() {
		prefix, bare, found := split(name)
		if isSkipped(bare) {
			continue
		}
		if !found {
			others[name] = bare
			continue
		}
		g := groups[prefix]
		if g == nil {
			g = &group{names: map[string]string{}}
			groups[prefix] = g
		}
		if twin, twice := g.names[bare]; twice {
			return nil, k.invalid("%q and %q are both %s", twin, name, bare)
		}
		g.names[bare] = name
		g.tower = g.tower || Modality(bare) != "loss"
	}
	// Models come first, then what has a scalar only.
	prefixes := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		if x, y := groups[a], groups[b]; x.tower != y.tower {
			if x.tower {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	out, of := map[string]string{}, map[string]string{}
	for _, p := range prefixes {
		for _, bare := range slices.Sorted(maps.Keys(groups[p].names)) {
			name := groups[p].names[bare]
			twin, twice := out[bare]
			switch {
			case twice && groups[p].tower && Modality(bare) != "loss":
				return nil, k.invalid("two models: %q and %q are both %s", twin, name, bare).WithHint("keep one of them").WithDetail(pythonToKeep(of[bare], p))
			case twice:
				k.remark("%s is left out: %s is taken", name, twin)
				continue
			}
			out[bare], of[bare] = name, p
		}
		if p != "" {
			k.remark("the prefix %s is taken off %d names", p, len(groups[p].names))
		}
	}
	if len(groups) == 0 || len(groups) == 1 && groups[""] != nil {
		for name, bare := range others { // of no model of CLIP's, or beside one: the encoder decides
			if _, twice := out[bare]; !twice {
				out[bare] = name
			}
		}
		return out, nil
	}
	k.left = slices.Collect(maps.Values(others))
	if len(others) > 0 {
		k.remark("%d tensors beside the model are left out: %s", len(others), some(slices.Sorted(maps.Keys(others))))
	}
	return out, nil
}

// pythonToKeep returns Python that keeps one of two models of a file.
func pythonToKeep(a, b string) string {
	p := a
	if p == "" {
		p = b
	}
	return "from safetensors.torch import load_file, save_file\n" +
		"save_file({k: v for k, v in load_file(\"FILE\").items() if k.startswith(\"" + p + "\")}, \"one.safetensors\")\n"
}

// remark notes what is worth telling.
func (k *File) remark(format string, args ...any) {
	k.remarks = append(k.remarks, fault.New(fault.Invalid, format, args...).Msg)
}

// Remarks returns sentences on what was taken off, put together or left out when the file was opened.
func (k *File) Remarks() []string { return slices.Clone(k.remarks) }
