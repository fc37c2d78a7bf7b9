// Command roofline counts what the GPU does in one training step of ViT-B/32 and RN50, and says what that would
// take at least, and what may be expected, on GPUs by their data sheets and by rates that were measured by other
// means. Nothing is run on a GPU.
//
// The towers' tests (core/engine/tower/towertest, Shapes) compile the graphs for a batch and note every kernel with
// the places of its arguments; this program turns them into launches as core/engine/device/cuda makes them, and prints the
// tables of docs/cuda.md:
//
//	go run ./tools/cuda/roofline            # prints the tables
//	go run ./tools/cuda/roofline -w         # writes them into docs/cuda.md, between its two marks
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/core/engine/device/devicetest"
)

const (
	document = "docs/cuda.md"
	begin    = "<!-- tools/cuda/roofline writes from here -->\n"
	end      = "<!-- to here -->\n"
)

func main() {
	write := flag.Bool("w", false, "write the tables into "+document)
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "roofline:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	folder, err := os.MkdirTemp("", "roofline")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	for _, m := range models {
		if err := m.note(folder); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	if err := tables(&text, folder); err != nil {
		return err
	}
	if !write {
		_, err := os.Stdout.Write(text.Bytes())
		return err
	}
	return replace(document, text.Bytes())
}

// replace puts text between the marks of a file.
func replace(path string, text []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return fmt.Errorf("%s: the marks are missing", path)
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, []byte(begin), text, []byte(end), after}, nil), 0o644)
}

// model names the parts that train together, and of how many pairs a batch has.
type model struct {
	Name  string
	Batch int
	Tests string // which tests of the plugins note the parts, as a pattern
	Files []string
}

var models = []model{
	{"ViT-B/32", 1024, "^TestStepOf(ViTB32|ThreeProducts)$", []string{"vit-b32.image", "vit-b32.text", "loss"}},
	{"RN50", 1024, "^TestStepOf(RN50|ThreeProducts)$", []string{"rn50.image", "rn50.text", "loss"}},
	{"RN50", 256, "^TestStepOf(RN50|ThreeProducts)$", []string{"rn50.image", "rn50.text", "loss"}},
}

// place returns the model's own folder below one for all.
func (m model) place(folder string) string {
	return filepath.Join(folder, fmt.Sprintf("%s-%d", strings.ReplaceAll(m.Name, "/", "-"), m.Batch))
}

// note runs the tests that note the kernels of the model's parts.
func (m model) note(folder string) error {
	if err := os.Mkdir(m.place(folder), 0o755); err != nil {
		return err
	}
	test := exec.Command("go", "test", "-count=1", "-run", m.Tests, "./plugins/encoders/...", "./plugins/losses/clip")
	test.Env = append(os.Environ(), "TANDEM_SHAPES="+m.place(folder), "TANDEM_SHAPES_BATCH="+strconv.Itoa(m.Batch))
	if out, err := test.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %s", err, out)
	}
	return nil
}

// parts reads the parts of a model and counts them.
func (m model) parts(folder string, p precision) ([]step, error) {
	var parts []step
	for _, name := range m.Files {
		if name != "loss" { // which has one precision
			name += map[precision]string{f32: ".f32", tf32: ".f32", bf16: ".bf16"}[p]
		}
		data, err := os.ReadFile(filepath.Join(m.place(folder), name+".json"))
		if err != nil {
			return nil, err
		}
		var s devicetest.Step
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if s.Batch != m.Batch {
			return nil, fmt.Errorf("%s has a batch of %d, want %d", name, s.Batch, m.Batch)
		}
		counted, err := count(s, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		parts = append(parts, counted)
	}
	return parts, nil
}
