package spec

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

// loadEval loads the good spec from a folder with a text file beside it, its evaluation's zero_shot block replaced.
func loadEval(t *testing.T, file, text, zeroShot string) (*Spec, error) {
	t.Helper()
	dir := t.TempDir()
	good := string(loadGood(t).YAML(false))
	at := strings.Index(good, "    zero_shot:")
	end := at + strings.Index(good[at:], "    retrieval:")
	good = good[:at] + "    zero_shot: " + zeroShot + "\n" + good[end:]
	for name, content := range map[string]string{file: text, "spec.yaml": good} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "spec.yaml"), Options{Catalog: spectest.Plugins(t)})
}

// Prompts and class names are read from files beside the spec, and stand in the resolved spec as texts.
func TestPromptsAndClassNamesComeFromFiles(t *testing.T) {
	s, err := loadEval(t, "p.txt", "\ufeffa photo of a {}.\r\n\n  \na \"{}\", drawn\n", `{classes: label, templates: {file: p.txt}, class_names: [a cat, "dog, big"]}`)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if want := []string{"a photo of a {}.", `a "{}", drawn`}; !slices.Equal(s.Eval[0].ZeroShot.Templates, want) {
		t.Errorf("templates %q, want %q", s.Eval[0].ZeroShot.Templates, want)
	}
	if want := []string{"a cat", "dog, big"}; !slices.Equal(s.Eval[0].ZeroShot.ClassNames, want) {
		t.Errorf("class names %q, want %q", s.Eval[0].ZeroShot.ClassNames, want)
	}
	again, err := Parse("elsewhere.yaml", []byte(s.YAML(true)), Options{Catalog: spectest.Plugins(t)})
	if err != nil || !slices.Equal(again.Eval[0].ZeroShot.Templates, s.Eval[0].ZeroShot.Templates) {
		t.Errorf("the resolved spec needs the file: %v", err)
	}
	for text, want := range map[string]string{"a {}\nno place\n": "0 places", "\n": "no lines", "\xff {}\n": "UTF-8"} {
		if _, err := loadEval(t, "p.txt", text, `{classes: label, templates: {file: p.txt}}`); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for zeroShot, hint := range map[string]string{`{classes: label, templates: p.txt}`: "{file: p.txt}", `{classes: label, templates: {file: q.txt}}`: "one a line"} {
		_, err := loadEval(t, "p.txt", "{}\n", zeroShot)
		var list fault.List
		if !errors.As(err, &list) || !strings.Contains(list[0].Hint, hint) {
			t.Errorf("%s: %v", zeroShot, fault.Format(err))
		}
	}
}

// What only says when to give up changes no identity; what changes figures does.
func TestLimitsOfBadSamplesAreNoPartOfAnIdentity(t *testing.T) {
	base := loadGood(t).Identity(nil)
	for set, same := range map[string]bool{"data.max_bad_share=0.5": true, "eval.0.max_bad_share=0": true, "eval.0.equal_captions=false": true,
		"eval.0.equal_captions=true": false} {
		if got := loadGood(t, set).Identity(nil) == base; got != same {
			t.Errorf("%s: the same identity: %v, want %v", set, got, same)
		}
	}
}
