// Package bisect compares two versions of one plugin by one spec: the same seeds with either, as an experiment of two
// variants, and what differs between them, and from which step on.
package bisect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/results"
	"tandem/core/results/metric"
)

// Options says what is compared.
type Options struct {
	Spec string
	// A and B name versions of one plugin: paths, names of installed plugins, or the beginnings of their digests.
	A, B   string
	Metric string // that decides, or the end of its name; "": the spec's
	Seeds  int    // 0: those of the spec's ablate block, else three
	Set    []string
}

// Version describes one of the two.
type Version struct {
	Plugin  string `json:"plugin"` // losses/clip
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Path    string `json:"path"`

	label string // v1.1.0-f251fd66
	ref   string // as a spec names it
}

// Comparison holds the trials that compare two versions.
type Comparison struct {
	Sweep   *sweep.Sweep
	A, B    Version
	Metric  string
	Roles   []string // of the spec that the plugin fills
	Remarks []string // what is otherwise than the spec says
}

// defaultSeeds is how many seeds there are where nobody says: the least from which a verdict may follow.
const defaultSeeds = 3

// minDigest limits from below how much of a digest names a plugin.
const minDigest = 6

// Plan finds both versions and lists the trials. No process is started but to describe a plugin.
func Plan(l lab.Lab, o Options) (*Comparison, error) {
	plugins := assemble.NewCatalog(l.Catalog)
	base, err := spec.Load(o.Spec, spec.Options{Set: o.Set, Env: os.Environ(), Catalog: plugins})
	if err != nil {
		return nil, err
	}
	c, found := &Comparison{}, *l.Catalog
	found.Python = cmp.Or(base.Python, found.Python)
	if c.A, err = find(&found, o.A); err != nil {
		return nil, err
	}
	if c.B, err = find(&found, o.B); err != nil {
		return nil, err
	}
	switch {
	case c.A.Plugin != c.B.Plugin:
		return nil, fault.New(fault.Invalid, "%s is %s, and %s is %s: these are no two versions of one plugin", o.A, c.A.Plugin, o.B, c.B.Plugin).
			WithHint("an ablate block compares different plugins")
	case c.A.SHA256 == c.B.SHA256:
		return nil, fault.New(fault.Invalid, "%s and %s are the same program, sha256 %.12s: there is nothing to compare", o.A, o.B, c.A.SHA256)
	}
	keys, err := c.keys(base, plugins)
	if err != nil {
		return nil, err
	}
	if c.Metric, err = metric.Find(o.Metric, append(base.EvalMetrics(), metric.TrainLoss)); err != nil {
		return nil, err
	}
	if c.Metric == "" {
		c.Metric = base.DecidingMetric()
	}
	if !base.Gives(c.Metric) {
		return nil, fault.New(fault.NotFound, "a run of %s gives no metric %s", o.Spec, c.Metric).
			WithHint("there are %s", strings.Join(append(base.EvalMetrics(), metric.TrainLoss), ", "))
	}
	if base.Ablate != nil {
		c.Remarks = append(c.Remarks, "the ablate block of the spec is left out: both versions run its baseline")
	}
	return c, c.plan(plugins, base, keys, o)
}

// keys returns the keys of a spec that name the plugin.
func (c *Comparison) keys(base *spec.Spec, plugins *assemble.Catalog) (keys []string, err error) {
	used, err := plugins.Plugins(base)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range used {
		names = append(names, u.Binary.Ref())
		if u.Binary.Ref() != c.A.Plugin {
			continue
		}
		c.Roles = append(c.Roles, u.Role)
		name, eval := strings.CutPrefix(u.Role, assemble.RoleEval)
		learned, evalTrain := strings.CutPrefix(u.Role, assemble.RoleEvalTrain)
		switch {
		case eval, evalTrain:
			key := "dataset"
			if evalTrain {
				name, key = learned, "train.dataset"
			}
			i := slices.IndexFunc(base.Eval, func(e spec.Eval) bool { return e.Name == name })
			keys = append(keys, fmt.Sprintf("eval.%d.%s", i, key))
		case assemble.IsLoss(u.Role):
			at := base.LossSection(slices.Index(assemble.LossRoles(base), u.Role))
			keys = append(keys, strings.TrimSuffix(strings.ReplaceAll(at, "[", "."), "]")+".plugin")
		case assemble.IsTrainingData(u.Role):
			at := base.TrainSection(slices.Index(assemble.DataRoles(base), u.Role))
			keys = append(keys, strings.TrimSuffix(strings.ReplaceAll(at, "[", "."), "]")+".dataset")
		default:
			keys = append(keys, u.Role+".encoder")
		}
	}
	if keys == nil {
		slices.Sort(names)
		return nil, fault.New(fault.Invalid, "%s uses no %s", base.File, c.A.Plugin).
			WithHint("it uses %s", strings.Join(slices.Compact(names), ", "))
	}
	return keys, nil
}

// plan makes the trials: both versions under every seed, the same seeds for both.
func (c *Comparison) plan(plugins *assemble.Catalog, base *spec.Spec, keys []string, o Options) error {
	name := fmt.Sprintf("%s-bisect-%s-%.8s-%.8s", base.Name, nameOf(c.A.Plugin), c.A.SHA256, c.B.SHA256)
	seeds := seedsOf(base, o.Seeds)
	c.Sweep = &sweep.Sweep{Design: "list", Metric: c.Metric, Retries: retriesOf(base),
		Factors: []results.Factor{{Name: c.A.Plugin, Levels: []string{c.A.label, c.B.label}}}}
	var identifier assemble.Identifier
	for i, v := range []Version{c.A, c.B} {
		set := append(slices.Clone(o.Set), "name="+quote(name),
			"description="+quote(fmt.Sprintf("%s: %s (%.12s, the baseline) and %s (%.12s)", c.A.Plugin, c.A.Version, c.A.SHA256, c.B.Version, c.B.SHA256)))
		for _, key := range keys {
			set = append(set, key+"="+quote(v.ref))
			set = append(set, given(base, key)...)
		}
		variant := sweep.Baseline
		if i > 0 {
			variant = v.label
		}
		d := spec.Read(o.Spec, spec.Options{Set: set, Env: os.Environ(), Catalog: plugins})
		s, faults := d.Resolve(spec.Choice{Variant: variant})
		if err := d.Err(faults...); err != nil {
			return err
		}
		if i == 0 {
			c.Sweep.Base = s
		}
		cell := sweep.Cell{Variant: variant, Levels: map[string]string{c.A.Plugin: v.label}}
		for _, seed := range seeds {
			one := s.WithSeed(seed)
			used, err := plugins.Plugins(one)
			if err != nil {
				return err
			}
			id, err := identifier.Identity(one, used)
			if err != nil {
				return err
			}
			c.Sweep.Trials = append(c.Sweep.Trials, sweep.Trial{ID: id[:16], Identity: id, Seed: one.Seed, Cells: []sweep.Cell{cell}, Spec: one})
		}
	}
	return nil
}

// retriesOf returns how often a failed trial is tried again: as the spec's ablate block says, else never.
func retriesOf(base *spec.Spec) spec.Retries {
	if base.Ablate != nil {
		return base.Ablate.Retries
	}
	return spec.Retries{}
}

// seedsOf returns n seeds: those of the spec's ablate block, and then the numbers after the highest.
func seedsOf(base *spec.Spec, n int) []spec.Seed {
	seeds := []spec.Seed{{Value: base.Seed, Origin: base.Locate("seed")}}
	if base.Ablate != nil && len(base.Ablate.Seeds) > 0 {
		seeds = slices.Clone(base.Ablate.Seeds)
		if n == 0 {
			return seeds
		}
	}
	if n == 0 {
		n = defaultSeeds
	}
	highest := uint64(0)
	for _, s := range seeds {
		highest = max(highest, s.Value)
	}
	for len(seeds) < n {
		highest++
		seeds = append(seeds, spec.Seed{Value: highest, Origin: spec.Origin{Source: "--seeds"}})
	}
	return seeds[:n]
}

// given returns the settings that a spec gives the plugin that a key names, as overrides: a spec that names another file drops
// those of the plugin before. Defaults are left to each version.
func given(base *spec.Spec, key string) (set []string) {
	section := strings.TrimSuffix(key, key[strings.LastIndex(key, "."):]) + ".with."
	for _, e := range base.Entries() {
		at := strings.ReplaceAll(strings.ReplaceAll(e.Path, "[", "."), "]", "")
		if strings.HasPrefix(at, section) && !strings.HasPrefix(e.Origin.Source, "default") {
			set = append(set, at+"="+quote(e.Value))
		}
	}
	return set
}

// quote writes a value for an override of a spec.
func quote(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		panic("bisect: " + err.Error()) // what a spec holds always encodes
	}
	return string(out)
}

// find looks a version up by path, name or digest.
func find(c *catalog.Catalog, ref string) (Version, error) {
	if dir, _, ok := strings.Cut(ref, "/"); ok && !slices.ContainsFunc(catalog.Kinds, func(k clip.Kind) bool { return k.Dir() == dir }) {
		abs, err := filepath.Abs(ref)
		if err != nil {
			return Version{}, fault.New(fault.NotFound, "%s: %w", ref, err)
		}
		ref = abs
	}
	var first error
	for _, kind := range catalog.Kinds {
		d, b, err := c.Describe(kind, ref)
		if err == nil {
			return describe(b, d, ref), nil
		}
		if first == nil || fault.KindOf(err) != fault.NotFound && !strings.Contains(err.Error(), ", not a") {
			first = err
		}
	}
	if len(ref) >= minDigest && strings.Trim(ref, "0123456789abcdef") == "" {
		if b, d, err := c.FindDigest(ref); err != nil || b.Path != "" {
			return describe(b, d, b.Path), err
		}
	}
	if fault.KindOf(first) == fault.NotFound {
		return Version{}, fault.New(fault.NotFound, "%s is neither the path of a plugin, nor the name or the digest of one that is found", ref).
			WithHint("runner plugin list shows those that are found")
	}
	return Version{}, first
}

func describe(b catalog.Binary, d clip.Descriptor, ref string) Version {
	return Version{Plugin: b.Ref(), Version: d.Version, SHA256: b.SHA256, Path: b.Path,
		label: fmt.Sprintf("v%s-%.8s", nameOf(d.Version), b.SHA256), ref: ref}
}

// nameOf returns a text with only what the name of an experiment or a variant may have.
func nameOf(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, text)
}
