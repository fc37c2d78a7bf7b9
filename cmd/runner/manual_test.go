package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guide holds docs/writing-a-plugin.md by section.
type guide map[string][]snippet

// snippet holds commands for a shell, or a file.
type snippet struct {
	file string // its path; "" for commands
	text string
}

var (
	heading = regexp.MustCompile(`(?m)^## (.*)$`)
	block   = regexp.MustCompile("(?s)```(sh|python)\n(?:# (\\S+\\.py)\n)?(.*?)```")
)

func readManual(t *testing.T) guide {
	t.Helper()
	page, err := os.ReadFile("../../docs/writing-a-plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	m := guide{}
	heads := heading.FindAllStringSubmatchIndex(string(page), -1)
	for i, h := range heads {
		end := len(page)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		title := string(page[h[2]:h[3]])
		for _, b := range block.FindAllStringSubmatch(string(page[h[1]:end]), -1) {
			m[title] = append(m[title], snippet{b[2], b[3]})
		}
	}
	return m
}

// follow does what a section says, in a folder outside of the tree, and demands that its ablation ends with a table that
// has the plugin's row.
func (m guide) follow(t *testing.T, section string) {
	t.Helper()
	if len(m[section]) == 0 {
		t.Fatalf("docs/writing-a-plugin.md has no section %q with commands", section)
	}
	dir, last := t.TempDir(), ""
	for _, s := range m[section] {
		if s.file != "" {
			if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.text), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		cmd := exec.Command("sh", "-e", "-c", s.text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(runner)+":"+os.Getenv("PATH"), "XDG_DATA_HOME="+dir, "RUNNER_PLUGIN_PATH=")
		out, err := cmd.CombinedOutput()
		if last = string(out); err != nil {
			t.Fatalf("%v\n%s\n%s", err, s.text, last)
		}
	}
	name := regexp.MustCompile(`runner ablation (\S+)`).FindStringSubmatch(m[section][len(m[section])-1].text)
	if len(name) != 2 {
		t.Fatalf("%q does not end with an ablation", section)
	}
	if row := "=" + name[1]; !strings.Contains(last, row) || !strings.Contains(last, "verdict") {
		t.Errorf("the ablation has no row %q:\n%s", row, last)
	}
}

func TestTheManualOfPluginsInGoWorks(t *testing.T) {
	m := readManual(t)
	sections := []string{"A loss in Go"}
	if os.Getenv("TANDEM_LONG") != "" {
		sections = append(sections, "An image encoder in Go", "A text encoder in Go", "A dataset in Go")
	}
	for _, section := range sections {
		t.Run(section, func(t *testing.T) { m.follow(t, section) })
	}
}

func TestTheManualOfPluginsInPythonWorks(t *testing.T) {
	m := readManual(t)
	most := map[string]int{"A loss in Python": 15, "An image encoder in Python": 30, "A text encoder in Python": 30, "A dataset in Python": 20}
	for section, lines := range most {
		for _, s := range m[section] {
			if n := countCode(s.text); s.file != "" && n > lines {
				t.Errorf("%s takes %d lines, want at most %d", s.file, n, lines)
			}
		}
	}
	python := os.Getenv("TANDEM_PYTHON")
	if os.Getenv("TANDEM_TEST_TORCH") == "" || exec.Command(python, "-c", "import torch, grpc, numpy, PIL").Run() != nil {
		t.Skip("make test-python runs the tests with PyTorch")
	}
	sdk, err := filepath.Abs("../../core/plugin/sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", sdk)
	for section := range most {
		t.Run(section, func(t *testing.T) { m.follow(t, section) })
	}
}

// countCode counts the lines that are neither empty nor a comment.
func countCode(text string) (n int) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}
