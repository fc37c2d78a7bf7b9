package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/data/shard"
	"tandem/core/fault"
	"tandem/core/plugin/sdk/sample"
)

// plan says which of the texts of a record are what, in this order: captions, negatives, the label.
type plan struct {
	wanted              shard.Wanted
	captions, negatives int // how many texts of Wanted
	perSample           int // negatives in a batch
}

// captionsOf returns the captions of a record, each once.
func (p *plan) captionsOf(texts [][]string) []string { return distinct(texts[:p.captions]) }

// negativesOf returns the texts that do not fit a record, each once, without its captions.
func (p *plan) negativesOf(texts [][]string) []string {
	captions := p.captionsOf(texts)
	return slices.DeleteFunc(distinct(texts[p.captions:p.captions+p.negatives]), func(t string) bool { return slices.Contains(captions, t) })
}

// labelOf returns the class that a record names; "" for none.
func (p *plan) labelOf(texts [][]string) string {
	if at := p.captions + p.negatives; at < len(texts) && len(texts[at]) > 0 {
		return texts[at][0]
	}
	return ""
}

func distinct(lists [][]string) []string {
	if len(lists) == 1 && len(lists[0]) < 2 {
		return lists[0]
	}
	var out sample.Distinct
	for _, list := range lists {
		for _, t := range list {
			out.Add(t)
		}
	}
	return out.List
}

// plan checks the settings and says what is wanted of the shards.
func (c Config) plan() (*plan, error) {
	p := &plan{}
	for _, ending := range c.Image {
		ending = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(ending), "."))
		if ending == "" || strings.ContainsAny(ending, "/ ;:") {
			return nil, fault.New(fault.Invalid, "%q is no ending of a member", ending).WithPath("with.image").WithHint("write image: [jpg, png]")
		}
		p.wanted.Pictures = append(p.wanted.Pictures, ending)
	}
	if len(p.wanted.Pictures) == 0 {
		return nil, fault.New(fault.Invalid, "no endings").WithPath("with.image").WithHint("write image: [jpg, png]")
	}
	if len(c.Captions) == 0 {
		return nil, fault.New(fault.Invalid, "no captions").WithPath("with.captions").WithHint("write captions: [txt], or [json:caption]")
	}
	if p.captions, p.negatives, p.perSample = len(c.Captions), len(c.Negatives), len(c.Negatives); c.NegativesCount > 0 && p.negatives > 0 {
		p.perSample = c.NegativesCount
	}
	if c.Label == "" && len(c.Classes) > 0 {
		return nil, fault.New(fault.Invalid, "classes without label").WithPath("with.classes").WithHint("say where the numbers stand: label: cls")
	}
	var labels []string
	if c.Label != "" {
		labels = []string{c.Label}
	}
	for _, of := range []struct {
		key     string
		entries []string
		lines   bool
	}{{"captions", c.Captions, c.Lines}, {"negatives", c.Negatives, c.Lines}, {"label", labels, false}} {
		for _, entry := range of.entries {
			var sources []shard.Source
			for part := range strings.SplitSeq(entry, ";") {
				s, err := shard.ParseSource(part)
				if err != nil {
					return nil, withPath(err, "with."+of.key)
				}
				s.Lines = of.lines && s.Field == ""
				sources = append(sources, s)
			}
			p.wanted.Texts = append(p.wanted.Texts, sources)
		}
	}
	return p, nil
}

// classes returns the number of each class by its label, whatever the split, and sets the target; nil without label.
func (c Config) classes(set *sample.Set, shards *shard.Set, p *plan) (map[string]int32, error) {
	if c.Label == "" {
		return nil, nil
	}
	var labels []string
	out := map[string]int32{}
	for _, x := range shards.Shards {
		for i := range x.Len() {
			label := p.labelOf(x.At(i).Texts)
			if _, known := out[label]; label == "" || known {
				continue
			}
			out[label] = 0
			labels = append(labels, label)
			if len(c.Classes) == 0 {
				continue
			}
			n, err := strconv.Atoi(label)
			if err != nil || n < 0 || n >= len(c.Classes) {
				return nil, fault.New(fault.Invalid, "the label %q of %s is no number of the %d classes", label, sample.Key(x.At(i).Key), len(c.Classes)).
					WithFile(x.Shard, 0, 0).WithPath("with.classes").WithHint("numbers begin with 0; without classes the labels are the names")
			}
			out[label] = int32(n)
		}
	}
	if len(labels) == 0 {
		return nil, fault.New(fault.NotFound, "no sample has a class in %s", c.Label).WithPath("with.label").
			WithHint("name the ending of a member, such as cls, or a field of a JSON member, such as json:label; leave label out for sets without classes")
	}
	if len(c.Classes) > 0 {
		set.Targets = []clip.Target{{Name: "label", Classes: c.Classes}}
		return out, nil
	}
	slices.SortFunc(labels, byNumber)
	for i, label := range labels {
		out[label] = int32(i)
	}
	set.Targets = []clip.Target{{Name: "label", Classes: labels}}
	set.Remarks = append(set.Remarks, sample.Alike(labels)...)
	return out, nil
}

// byNumber orders labels: numbers by their value, before all others.
func byNumber(a, b string) int {
	n, errA := strconv.Atoi(a)
	m, errB := strconv.Atoi(b)
	switch {
	case errA == nil && errB == nil && n != m:
		return cmp.Compare(n, m)
	case errA == nil && errB != nil:
		return -1
	case errA != nil && errB == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// endings lists the endings of shards.
var endings = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.bz2"}

func isShard(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) })
}

// list returns the names of the shards, each once. Of a folder and of a glob, what has no shard's ending stays out of it when
// something has one: img2dataset puts tables and statistics beside its shards.
func (c Config) list(ctx context.Context, store *object.Store) (names, remarks []string, err error) {
	seen := map[string]bool{}
	var twice, beside shard.Tally
	for _, pattern := range c.Shards {
		if info, err := os.Stat(pattern); err == nil && info.IsDir() {
			pattern = filepath.Join(strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, "{", `\{`).Replace(pattern), "*")
		}
		found, err := store.List(ctx, pattern)
		if err != nil {
			return nil, nil, withPath(err, "with.shards")
		}
		choosy := strings.ContainsAny(pattern, "*?[") && slices.ContainsFunc(found, isShard)
		for _, name := range found {
			switch {
			case choosy && !isShard(name):
				if !madeBesides(name) {
					beside.Add(name)
				}
			case seen[name]:
				twice.Add(name)
			default:
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil, nil, fault.New(fault.Invalid, "no shards").WithPath("with.shards").WithHint("list files, folders or patterns: shards: [\"data/{000..099}.tar\"]")
	}
	if twice.N > 0 {
		remarks = append(remarks, fmt.Sprintf("files named twice in shards are read once: %d, the first is %s", twice.N, twice.First))
	}
	if beside.N > 0 {
		remarks = append(remarks, fmt.Sprintf("%d files beside the shards have other endings and are passed over, the first is %s", beside.N, beside.First))
	}
	return names, remarks, nil
}

// withPath names the setting that an error comes from.
func withPath(err error, path string) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		f.Path = path
	}
	return err
}

// withFile names the file at fault.
func withFile(err error, file string) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		f.File = file
	}
	return err
}

// remarksOn returns what a person should know of the shards: what is said of many is said once.
func remarksOn(shards *shard.Set) (out []string) {
	var kinds []string
	tallies := map[string]*shard.Tally{}
	add := func(kind, text string) {
		if tallies[kind] == nil {
			tallies[kind] = &shard.Tally{}
			kinds = append(kinds, kind)
		}
		tallies[kind].Add(text)
	}
	var empty shard.Tally
	for _, x := range shards.Shards {
		for _, note := range x.Notes {
			const same = 24 // letters by which notes are alike
			add(note[:min(same, len(note))], x.Shard+" "+note)
		}
		if x.Len() == 0 && len(x.Flaws) == 0 {
			empty.Add(x.Shard)
		}
	}
	for _, kind := range kinds {
		if t := tallies[kind]; t.N == 1 {
			out = append(out, t.First)
		} else {
			out = append(out, fmt.Sprintf("%s (and so %d other shards)", t.First, t.N-1))
		}
	}
	if empty.N > 0 {
		out = append(out, fmt.Sprintf("%d shards have no samples, the first is %s", empty.N, empty.First))
	}
	if n := len(shards.Stale); n > 0 {
		out = append(out, fmt.Sprintf("%d indexes of shards were made anew: %s", n, shards.Stale[0]))
	}
	return out
}
