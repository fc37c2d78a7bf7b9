package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"tandem/core/data/filter"
	"tandem/core/data/pages"
	"tandem/core/fault"
	"tandem/core/files"
)

// Config says what a set is built from and how. The keys are those of the YAML file; docs/data-build.md describes them.
type Config struct {
	Dir      string       `yaml:"-" json:"-"` // relative paths are meant from here
	Out      string       `yaml:"out" json:"-"`
	Sources  []SourceSpec `yaml:"sources" json:"sources"`
	Fetch    *FetchSpec   `yaml:"fetch" json:"fetch"`
	Captions []string     `yaml:"captions" json:"captions"` // kinds of texts, the best first
	Filters  Filters      `yaml:"filters" json:"filters"`
	Shards   ShardSpec    `yaml:"shards" json:"shards"`
}

// SourceSpec names one source: exactly one of WARC, HTML and List.
type SourceSpec struct {
	WARC string `yaml:"warc" json:"warc,omitempty"` // files, globs, brace ranges
	HTML string `yaml:"html" json:"html,omitempty"` // a folder of pages
	List string `yaml:"list" json:"list,omitempty"` // a table of pictures and captions
	// Base is the address that the folder of HTML has on the web; "" for none.
	Base string `yaml:"base" json:"base,omitempty"`
	// URL and Caption name the columns of a list; "" finds them.
	URL     string `yaml:"url" json:"url,omitempty"`
	Caption string `yaml:"caption" json:"caption,omitempty"`
}

// FetchSpec permits to get pictures from the web.
type FetchSpec struct {
	Agent        string `yaml:"agent" json:"-"` // who asks, with an address for complaints
	PerHost      int    `yaml:"per_host" json:"-"`
	Total        int    `yaml:"total" json:"-"`
	DelayMS      int    `yaml:"delay_ms" json:"-"`  // between two requests to a host
	TimeoutSec   int    `yaml:"timeout_s" json:"-"` // of a request
	MaxBytes     int64  `yaml:"max_bytes" json:"-"` // of a picture
	Tries        int    `yaml:"tries" json:"-"`     // rounds over what failed for now
	RoundSec     int    `yaml:"round_s" json:"-"`   // pause before the second; doubles
	AllowPrivate bool   `yaml:"allow_private" json:"allow_private"`
	IgnoreRobots bool   `yaml:"ignore_robots" json:"ignore_robots"`
}

// ShardSpec says how the set is written.
type ShardSpec struct {
	Samples int `yaml:"samples" json:"samples"` // in a shard
	// Shuffle is the seed by which the pairs are shuffled, so that each shard is like the whole set; 0 keeps the order of the
	// sources.
	Shuffle int `yaml:"shuffle" json:"shuffle"`
	// Side scales pictures down until their shorter side has as many pixels, and writes JPEG; 0 writes the files as they are.
	Side    int `yaml:"side" json:"side"`
	Quality int `yaml:"quality" json:"quality"` // of JPEG
	// Captions is "first", or "all" to put all captions that a picture has into its JSON.
	Captions string `yaml:"captions" json:"captions"`
}

// Filters holds every filter. Each is on with its defaults unless the comment says otherwise; "name: off" turns it off.
type Filters struct {
	Directives  Setting[Nothing]            `yaml:"directives" json:"directives"`
	Length      Setting[filter.Length]      `yaml:"length" json:"length"`
	Letters     Setting[filter.Letters]     `yaml:"letters" json:"letters"`
	Boilerplate Setting[filter.Boilerplate] `yaml:"boilerplate" json:"boilerplate"`
	FileName    Setting[filter.FileName]    `yaml:"filename" json:"filename"`
	Language    Setting[filter.Language]    `yaml:"language" json:"language"` // off
	Repeated    Setting[Repeated]           `yaml:"repeated" json:"repeated"`
	Size        Setting[filter.Size]        `yaml:"size" json:"size"`
	Aspect      Setting[filter.Aspect]      `yaml:"aspect" json:"aspect"`
	Flat        Setting[filter.Flat]        `yaml:"flat" json:"flat"`
	Animated    Setting[filter.Animated]    `yaml:"animated" json:"animated"`
	Exact       Setting[Nothing]            `yaml:"exact" json:"exact"`
	Perceptual  Setting[Near]               `yaml:"perceptual" json:"perceptual"`
	Leakage     Setting[Leakage]            `yaml:"leakage" json:"leakage"`       // off
	Similarity  Setting[Similarity]         `yaml:"similarity" json:"similarity"` // off
}

// Nothing is the setting of filters that are on or off.
type Nothing struct{}

// Repeated refuses a caption that more than Most pictures have.
type Repeated struct {
	Most int `yaml:"most" json:"most"`
}

// Near takes pictures for the same whose perceptual hashes differ in at most Distance bits.
type Near struct {
	Distance int `yaml:"distance" json:"distance"`
}

// Leakage refuses pictures that are alike to those of evaluation sets.
type Leakage struct {
	// Against lists folders of pictures, tar shards, and files with a hash on each line: 16 hex digits of a perceptual one,
	// 64 of an exact one.
	Against  []string `yaml:"against" json:"against"`
	Distance int      `yaml:"distance" json:"distance"`
}

// Similarity refuses pairs whose embeddings by a trained run are less alike than Min (cosine).
type Similarity struct {
	Run string  `yaml:"run" json:"run"`
	Min float64 `yaml:"min" json:"min"`
}

// Setting is one filter: on or off, with its numbers.
type Setting[T any] struct {
	On    bool
	Value T
}

// UnmarshalYAML reads "off", "on" or the filter's numbers, which leave out those that keep their defaults.
func (s *Setting[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		switch strings.ToLower(n.Value) {
		case "off", "false":
			s.On = false
			return nil
		case "on", "true":
			s.On = true
			return nil
		}
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want off, on or the filter's numbers", n.Line)
	}
	known := fields(reflect.TypeFor[T]())
	for i := 0; i < len(n.Content); i += 2 {
		if name := n.Content[i].Value; !slices.Contains(known, name) {
			return fmt.Errorf("line %d: field %s not found in the filter; it has: %s", n.Content[i].Line, name, strings.Join(known, ", "))
		}
	}
	s.On = true
	return n.Decode(&s.Value)
}

// MarshalJSON writes false, or the numbers.
func (s Setting[T]) MarshalJSON() ([]byte, error) {
	if !s.On {
		return []byte("false"), nil
	}
	return json.Marshal(s.Value)
}

func fields(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}

// Defaults returns the configuration that a file changes.
func Defaults() Config {
	return Config{
		Captions: []string{pages.Alt, pages.Caption, pages.Title, pages.Nearby},
		Filters: Filters{
			Directives: Setting[Nothing]{On: true}, Length: Setting[filter.Length]{true, filter.DefaultLength}, Letters: Setting[filter.Letters]{true, filter.DefaultLetters},
			Boilerplate: Setting[filter.Boilerplate]{On: true}, FileName: Setting[filter.FileName]{On: true},
			Language: Setting[filter.Language]{false, filter.DefaultLanguage}, Repeated: Setting[Repeated]{true, Repeated{10}},
			Size: Setting[filter.Size]{true, filter.DefaultSize}, Aspect: Setting[filter.Aspect]{true, filter.DefaultAspect},
			Flat: Setting[filter.Flat]{true, filter.DefaultFlat}, Animated: Setting[filter.Animated]{On: true}, Exact: Setting[Nothing]{On: true},
			Perceptual: Setting[Near]{true, Near{4}}, Leakage: Setting[Leakage]{false, Leakage{Distance: 4}},
			Similarity: Setting[Similarity]{false, Similarity{Min: 0.2}},
		},
		Shards: ShardSpec{Samples: 1000, Quality: 90, Captions: "first"},
	}
}

// Load reads a configuration. Relative paths in it are meant from its folder.
func Load(path string) (*Config, error) {
	data, err := files.Read(path, 1<<20)
	if err != nil {
		return nil, err
	}
	c := Defaults()
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		line := 0
		text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n  ", " "), "yaml: ")
		text = strings.TrimPrefix(text, "unmarshal errors: ")
		if _, e := fmt.Sscanf(text, "line %d:", &line); e == nil {
			_, text, _ = strings.Cut(text, ": ")
		}
		return nil, fault.New(fault.Invalid, "%s", text).WithFile(path, line, 0).WithHint("docs/data-build.md has all keys")
	}
	c.Dir = filepath.Dir(path)
	c.Fetch.fill()
	return &c, nil
}

// SetFilter turns a filter on or off by its name.
func (c *Config) SetFilter(name string, on bool) error {
	v := reflect.ValueOf(&c.Filters).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			v.Field(i).FieldByName("On").SetBool(on)
			return nil
		}
	}
	return fault.New(fault.Invalid, "there is no filter %q", name).WithHint("the filters are %s", strings.Join(FilterNames(), ", "))
}

// FilterNames lists the filters in the order in which they judge.
func FilterNames() []string { return fields(reflect.TypeFor[Filters]()) }

// fill sets what a file leaves out.
func (f *FetchSpec) fill() {
	if f == nil {
		return
	}
	number := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	number(&f.PerHost, 2)
	number(&f.Total, 32)
	number(&f.TimeoutSec, 30)
	number(&f.Tries, 3)
	number(&f.RoundSec, 5)
	if f.MaxBytes <= 0 {
		f.MaxBytes = 32 << 20
	}
}

// path returns where a name of the configuration lies.
func (c *Config) path(name string) string {
	if name == "" || filepath.IsAbs(name) || strings.Contains(name, "://") {
		return name
	}
	return filepath.Join(c.Dir, name)
}

// Check reports everything that a configuration cannot mean.
func (c *Config) Check() error {
	var all fault.List
	bad := func(path, hint, format string, args ...any) {
		e := fault.New(fault.Invalid, format, args...).WithPath(path)
		e.Hint = hint
		all = append(all, e)
	}
	if c.Out == "" {
		bad("out", "out: FOLDER, or -o FOLDER", "no folder to build in")
	}
	if len(c.Sources) == 0 {
		bad("sources", "sources: [{warc: FILE}, {html: FOLDER}, {list: FILE}]", "there is no source")
	}
	for i, s := range c.Sources {
		at, n := fmt.Sprintf("sources[%d]", i), 0
		for _, name := range []string{s.WARC, s.HTML, s.List} {
			if name != "" {
				n++
			}
		}
		if n != 1 {
			bad(at, "give one of them for each source", "has %d of warc, html and list", n)
		}
		if u, err := url.Parse(s.Base); s.Base != "" && (s.HTML == "" || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			bad(at+".base", "base: https://example.org/docs/, of a folder of HTML", "%q is no address of a folder of HTML", s.Base)
		}
	}
	for i, k := range c.Captions {
		if !slices.Contains(pages.Kinds, k) {
			bad(fmt.Sprintf("captions[%d]", i), "the kinds are "+strings.Join(pages.Kinds, ", "), "%q is no kind of text", k)
		}
	}
	if c.Fetch != nil && !strings.Contains(c.Fetch.Agent, "/") {
		bad("fetch.agent", `name yourself and an address for complaints: "my-set/1 (+https://example.org/bot)"`, "%q does not say who asks", c.Fetch.Agent)
	}
	if c.Shards.Samples < 1 || c.Shards.Side < 0 || c.Shards.Quality < 1 || c.Shards.Quality > 100 {
		bad("shards", "samples is at least 1, side at least 0, quality from 1 to 100", "has samples %d, side %d, quality %d", c.Shards.Samples, c.Shards.Side, c.Shards.Quality)
	}
	if c.Shards.Captions != "first" && c.Shards.Captions != "all" {
		bad("shards.captions", "first or all", "%q is unknown", c.Shards.Captions)
	}
	f := &c.Filters
	if f.Similarity.On && f.Similarity.Value.Run == "" {
		bad("filters.similarity.run", "runner list shows the runs", "no run to compute similarities with")
	}
	if f.Leakage.On && len(f.Leakage.Value.Against) == 0 {
		bad("filters.leakage.against", "name folders of pictures, tar shards or files of hashes", "nothing to compare with")
	}
	if f.Language.On && len(f.Language.Value.Keep) == 0 {
		bad("filters.language.keep", "keep: [en]", "no language to keep")
	}
	for path, d := range map[string]int{"filters.perceptual.distance": f.Perceptual.Value.Distance, "filters.leakage.distance": f.Leakage.Value.Distance} {
		if d < 0 || d > 32 {
			bad(path, "from 0 to 32 of 64 bits; 4 is usual", "is %d", d)
		}
	}
	return all.Err()
}

// parts returns the parts of the configuration that decide what is collected, and those that judge it, by their paths.
func (c *Config) parts() (collect, judge map[string]string) {
	return flatten(map[string]any{"sources": c.Sources, "fetch": c.Fetch, "directives": c.Filters.Directives}),
		flatten(map[string]any{"captions": c.Captions, "filters": c.Filters, "shards": c.Shards})
}

// flatten returns the leaves of a value by their paths.
func flatten(v any) map[string]string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("build: " + err.Error()) // settings always encode
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		panic("build: " + err.Error())
	}
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if len(v) == 0 {
				out[path] = "on"
			}
			for k, x := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), x)
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), x)
			}
		default:
			text, _ := json.Marshal(v)
			out[path] = string(text)
		}
	}
	walk("", tree)
	return out
}

// difference names the first key in which two flat configurations differ; "" when they are equal.
func difference(was, is map[string]string) string {
	keys := map[string]bool{}
	for k := range was {
		keys[k] = true
	}
	for k := range is {
		keys[k] = true
	}
	var all []string
	for k := range keys {
		if was[k] != is[k] {
			all = append(all, k)
		}
	}
	if len(all) == 0 {
		return ""
	}
	sort.Strings(all)
	k := all[0]
	show := func(m map[string]string) string {
		switch v, set := m[k]; {
		case set && v == "false" && strings.HasPrefix(k, "filters."):
			return "off"
		case set:
			return v
		}
		for other := range m {
			if strings.HasPrefix(other, k+".") {
				return "on"
			}
		}
		return "not set"
	}
	return fmt.Sprintf("%s was %s and is %s", k, show(was), show(is))
}

func digestOf(parts ...map[string]string) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic("build: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
