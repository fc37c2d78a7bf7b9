// Package scaffold writes the folder of a new plugin: a small working example in Go or Python with its test and an
// experiment that uses it. The templates are programs of their own, below template; they are built and tested as such.
package scaffold

import (
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

//go:embed template
var templates embed.FS

// Kinds lists the kinds of plugin that there are templates for.
var Kinds = []string{"encoder-image", "encoder-text", "loss", "dataset"}

// Languages lists the languages that there are templates for.
var Languages = []string{"go", "python"}

// placeholder stands in templates where the plugin's name will be.
const placeholder = "myplugin"

// Plugin says what to write.
type Plugin struct {
	Kind     string // one of Kinds
	Name     string
	Language string // one of Languages
	Dir      string // the folder to make; "": the place of such plugins in the tree where that is, else ./Name
	// Tandem is the folder of tandem's sources; "": Locate finds it. Only plugins in Go outside of it need it.
	Tandem string
	// Tags are the build tags of the runner, which the plugin is to be built with.
	Tags string
}

// Written describes what was written.
type Written struct {
	Dir     string   // of the plugin, absolute
	Files   []string // relative to Dir
	Inside  bool     // it is in tandem's own tree
	Ref     string   // how a spec in the folder names it
	Next    []string // commands: build, test, run
	Comment []string // what each does
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// KindOf returns the kind of core/clip of a template's kind.
func KindOf(kind string) clip.Kind {
	switch kind {
	case "loss":
		return clip.KindLoss
	case "dataset":
		return clip.KindDataset
	}
	return clip.KindEncoder
}

// check reports what is wrong with the request.
func (p Plugin) check() error {
	known := func(what, value string, all []string) error {
		for _, k := range all {
			if k == value {
				return nil
			}
		}
		e := fault.New(fault.Invalid, "there is no %s %q", what, value).WithHint("%ss are %s", what, strings.Join(all, ", "))
		if near := fault.Nearest(value, all); near != "" {
			e.WithHint("%ss are %s (did you mean %s?)", what, strings.Join(all, ", "), near)
		}
		return e
	}
	if err := known("kind", p.Kind, Kinds); err != nil {
		return err
	}
	if err := known("language", p.Language, Languages); err != nil {
		return err
	}
	if !validName.MatchString(p.Name) || len(p.Name) > 60 {
		return fault.New(fault.Invalid, "%q is no name for a plugin", p.Name).
			WithHint("take lower-case letters, digits and single hyphens, beginning with a letter: my-loss")
	}
	if spec := p.template(p.specTemplate()); strings.Contains(spec, "\n      "+p.Name+": {}\n") {
		return fault.New(fault.Invalid, "%q is the plugin of tandem's own that experiment.yaml compares the new one with", p.Name).
			WithHint("take another name: my-%s", p.Name)
	}
	return nil
}

// template returns the text of a template.
func (p Plugin) template(name string) string {
	text, err := templates.ReadFile(path.Join("template", name))
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// specTemplate returns the template of experiment.yaml.
func (p Plugin) specTemplate() string {
	return "experiment/" + strings.ReplaceAll(p.Kind, "-", "") + ".yaml"
}

// Write makes the folder. A folder or file that exists is fault.Conflict and stays as it is.
func Write(p Plugin) (Written, error) {
	var w Written
	if err := p.check(); err != nil {
		return w, err
	}
	if err := p.place(&w); err != nil {
		return w, err
	}
	files, err := p.files(w)
	if err != nil {
		return w, err
	}
	if _, err := os.Lstat(w.Dir); err == nil {
		return w, fault.New(fault.Conflict, "%s exists", w.Dir).WithHint("take another name, or --dir for another folder")
	}
	if err := os.MkdirAll(w.Dir, 0o755); err != nil {
		return w, fault.New(fault.Unavailable, "%w", err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(w.Dir, f.name), []byte(f.text), f.mode); err != nil {
			return w, fault.New(fault.Unavailable, "%w", err)
		}
		w.Files = append(w.Files, f.name)
	}
	p.next(&w)
	return w, nil
}

// place finds out where the plugin goes, and whether that is inside tandem's tree.
func (p *Plugin) place(w *Written) error {
	here, err := os.Getwd()
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	dir := p.Dir
	if root := treeAround(here); dir == "" && root != "" {
		dir = filepath.Join(root, "plugins", KindOf(p.Kind).Dir(), p.Name)
	} else if dir == "" {
		dir = p.Name
	}
	if w.Dir, err = filepath.Abs(dir); err != nil {
		return fault.New(fault.Invalid, "%s: %w", dir, err)
	}
	root := treeAround(filepath.Dir(w.Dir))
	w.Inside = root != ""
	if !w.Inside {
		w.Ref = "./" + filepath.Base(w.Dir)
		return nil
	}
	if want := filepath.Join(root, "plugins", KindOf(p.Kind).Dir(), p.Name); p.Language == "go" && w.Dir != want {
		return fault.New(fault.Invalid, "%s is in tandem's own tree, where such plugins are in %s", w.Dir, want).
			WithHint("leave --dir out, or take a folder outside of the tree")
	}
	w.Ref = p.Name
	if p.Language == "python" {
		w.Ref = "./" + filepath.Base(w.Dir)
	}
	return nil
}

type file struct {
	name, text string
	mode       os.FileMode
}

// files returns what the folder will hold.
func (p Plugin) files(w Written) ([]file, error) {
	read := func(name string) string {
		return strings.ReplaceAll(p.template(name), placeholder, p.Name)
	}
	short := strings.ReplaceAll(p.Kind, "-", "")
	spec := file{"experiment.yaml", read(p.specTemplate()), 0o644}
	spec.text = strings.ReplaceAll(spec.text, "REF", p.refInSpec(w))
	if p.Language == "python" {
		return []file{
			{"plugin.py", read("python/" + short + ".py"), 0o755},
			{"test_plugin.py", read("python/" + short + "_test.py"), 0o644},
			spec,
			{".gitignore", "__pycache__/\n.venv/\nresults/\n", 0o644},
		}, nil
	}
	out := []file{
		{"main.go", read(short + "/main.go"), 0o644},
		{"main_test.go", read(short + "/main_test.go"), 0o644},
	}
	if w.Inside {
		return out, nil
	}
	mod, sum, err := p.module()
	if err != nil {
		return nil, err
	}
	ignore := fmt.Sprintf("/%s\nresults/\n", filepath.Base(w.Dir))
	return append(out, spec, file{"go.mod", mod, 0o644}, file{"go.sum", sum, 0o644}, file{".gitignore", ignore, 0o644}), nil
}

// refInSpec returns how experiment.yaml, in the plugin's folder, names the plugin.
func (p Plugin) refInSpec(w Written) string {
	if p.Language == "python" {
		return "./plugin.py"
	}
	return "./" + filepath.Base(w.Dir)
}

// next lists the commands that follow.
func (p Plugin) next(w *Written) {
	add := func(command, comment string) {
		w.Next, w.Comment = append(w.Next, command), append(w.Comment, comment)
	}
	base := filepath.Base(w.Dir)
	if w.Inside && p.Language == "go" {
		add("make plugins", "builds it to bin/plugins")
		add(fmt.Sprintf("go test%s ./plugins/%s/%s", tagsFlag(p.Tags), KindOf(p.Kind).Dir(), p.Name), "checks it in the test's process")
		add(fmt.Sprintf("bin/runner plugin test %s/%s", KindOf(p.Kind).Dir(), p.Name), "checks it as the runner uses it")
		return
	}
	add("cd "+quote(w.Dir), "")
	if p.Language == "go" {
		add(fmt.Sprintf("go build%s -o %s .", tagsFlag(p.Tags), base), "builds it")
		add(fmt.Sprintf("go test%s .", tagsFlag(p.Tags)), "checks it in the test's process")
	}
	add("runner plugin test .", "checks it as the runner uses it")
	add("runner run experiment.yaml", "trains with it beside one of tandem's own")
	add("runner ablation "+p.Name, "shows the comparison")
}

func tagsFlag(tags string) string {
	if tags == "" {
		return ""
	}
	return " -tags " + tags
}

// quote returns a path for a shell.
func quote(s string) string {
	if !strings.ContainsAny(s, " \t'\"\\$&;()<>|*?[]{}~#!`") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
