package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Suite holds evaluations in a file of their own, to be made of any run's checkpoints.
type Suite struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Eval        []Eval `json:"eval"`

	File string `json:"-"` // as given to LoadSuite

	list    []any
	origins map[string]Origin
}

// suiteBatch is how many samples a suite forwards at a time when it does not say: figures are then of the same bits for
// runs of any training batch.
const suiteBatch = 128

// suiteKeys lists the keys of a suite.
var suiteKeys = []Key{
	key("name", clip.TypeString, nil, "the suite; the file's name without its ending when left out"),
	key("description", clip.TypeString, "", "for people"),
	{Field: clip.Field{Name: "eval", Type: typeSections, Help: "what is measured, as in a spec"}, Sub: evalKeys},
}

// LoadSuite reads and checks a suite. Its error is a fault.List of everything wrong with it, in file order.
func LoadSuite(file string, opts Options) (*Suite, error) {
	d := Read(file, Options{Catalog: opts.Catalog})
	if d.reader.broken {
		return nil, d.Err()
	}
	c := &checker{catalog: opts.Catalog, origins: d.merged.origins}
	c.origins[""] = Origin{Source: filepath.Clean(file), Line: 1, Column: 1, KeyLine: 1, KeyColumn: 1, Dir: filepath.Dir(file)}
	tree := d.merged.k.Raw()
	delete(tree, "extends") // is used up
	if d.merged.ablate != nil {
		c.fault(path{"ablate"}, "a suite has no ablations").WithHint("a suite has name, description and eval")
	}
	c.section(tree, suiteKeys, nil, "a suite")
	if _, ok := tree["name"]; !ok {
		base := filepath.Base(file)
		c.setDefault(tree, path{"name"}, strings.TrimSuffix(base, filepath.Ext(base)), "default")
	}
	c.nameForm(tree, path{"name"}, nameForm)
	list, _ := tree["eval"].([]any)
	if _, isBad := tree["eval"].(bad); len(list) == 0 && !isBad {
		if c.origin(path{"eval"}).Line == 0 {
			c.origins["eval"] = c.origins[""]
		}
		c.fault(path{"eval"}, "a suite without evaluations").WithHint("eval: [{dataset: …, zero_shot: {…}}]")
	}
	c.evals(list, tree)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["batch_size"] == int64(0) {
			m["batch_size"] = int64(suiteBatch)
		}
	}
	if err := d.Err(c.faults...); err != nil {
		return nil, err
	}
	s := &Suite{File: file, list: list, origins: c.origins}
	data, err := json.Marshal(tree)
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "spec: the checked suite does not decode: %w", err).WithFile(file, 0, 0)
	}
	return s, nil
}

// SHA256 returns the hex digest of what the suite measures.
func (x *Suite) SHA256() string {
	h := sha256.New()
	for i := range x.list {
		h.Write([]byte(x.Eval[i].Name + " " + evalDigest(x.list[i]) + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// WithSuite returns the spec with a suite's evaluations in place of its own.
func (s *Spec) WithSuite(x *Suite) *Spec {
	out := *s
	out.Eval, out.Ablate = x.Eval, nil
	out.tree = clone(s.tree).(map[string]any)
	out.tree["eval"] = cloneList(x.list)
	out.origins = maps.Clone(s.origins)
	own := path{"eval"}.join()
	isEval := func(p string, _ Origin) bool { return p == own || strings.HasPrefix(p, own+sep) }
	maps.DeleteFunc(out.origins, isEval)
	for p, o := range x.origins {
		if isEval(p, o) {
			out.origins[p] = o
		}
	}
	return &out
}

// EvalSHA256 returns the hex digest of what evaluation i of the spec measures: of its dataset, settings and measures, but not of
// its name or of how many samples are forwarded at a time.
func (s *Spec) EvalSHA256(i int) string {
	return evalDigest(lookup(s.tree, path{"eval", strconv.Itoa(i)}))
}

func evalDigest(entry any) string {
	m, _ := clone(entry).(map[string]any)
	for _, name := range []string{"name", "batch_size", "max_bad_share"} {
		delete(m, name)
	}
	dropZeros(m)
	dropZeros(m["with"])
	dropZeros(lookup(m, path{"train", "with"}))
	data, err := json.Marshal(m)
	if err != nil {
		panic("spec: a resolved tree does not encode: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
