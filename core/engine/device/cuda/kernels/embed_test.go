package kernels

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// capabilities lists what `make ptx` may compile for.
var capabilities = []int{70, 75, 80, 86, 89, 90}

func TestEveryKernelIsInThePTXOfEveryGPU(t *testing.T) {
	sources, err := filepath.Glob("*.cu")
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		path string
		from int // the lowest capability that has it, from "REGISTER_KERNEL(name) // from 80"
	}
	declared := map[string]place{}
	pattern := regexp.MustCompile(`(?m)^REGISTER_KERNEL\(([A-Za-z0-9_]+)\)(?: // from (\d+))?`)
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			from, _ := strconv.Atoi(m[2])
			declared[m[1]] = place{path, from}
		}
	}
	for _, c := range capabilities {
		entries := Entries(c)
		for name, at := range declared {
			if _, ok := entries[name]; !ok && c >= at.from {
				t.Errorf("%s of %s is not in the PTX for %d: run make ptx", name, at.path, c)
			}
		}
		for name := range entries {
			if declared[name].path == "" {
				t.Errorf("the PTX for %d has %s, which no REGISTER_KERNEL names: run make ptx, or register it", c, name)
			}
		}
	}
}

func TestParametersAreEightBytesWideAndBlocksAreBounded(t *testing.T) {
	param := regexp.MustCompile(`(?m)^\s*\.param \.([a-z0-9]+) `)
	for _, m := range all() {
		for _, e := range m.Entries {
			if e.MaxThreads == 0 || e.MaxThreads > 1024 {
				t.Errorf("%s_%d: %s: blocks of at most %d threads: want __launch_bounds__ of 1 to 1024", m.Name, m.Capability, e.Name, e.MaxThreads)
			}
		}
		for _, head := range entryPattern.FindAllStringSubmatch(m.PTX, -1) {
			for _, p := range param.FindAllStringSubmatch(head[2], -1) {
				if !slices.Contains([]string{"u64", "s64", "b64", "f64"}, p[1]) {
					t.Errorf("%s_%d: %s has a parameter of type %s; all are eight bytes wide", m.Name, m.Capability, head[1], p[1])
				}
			}
		}
	}
}

func TestNewerGPUsGetThePTXMadeForThem(t *testing.T) {
	if got := For(60); len(got) != 0 {
		t.Errorf("a GPU of compute capability 6.0 gets %d modules, want none", len(got))
	}
	for _, c := range capabilities {
		for _, m := range For(c) {
			for _, other := range all() {
				if other.Name == m.Name && other.Capability <= c && other.Capability > m.Capability {
					t.Errorf("capability %d gets %s_%d, and there is %s_%d", c, m.Name, m.Capability, m.Name, other.Capability)
				}
			}
		}
	}
}

func TestEntriesAreReadFromPTX(t *testing.T) {
	const ptx = `
.visible .entry one(
	.param .u64 one_param_0,
	.param .f64 one_param_1
)
.maxntid 32, 8, 1
.minnctapersm 2
{
}

.visible .entry none()
{
}
`
	want := []Entry{{"one", 2, 256, 2}, {"none", 0, 0, 1}}
	if got := entriesOf(ptx); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := entriesOf(strings.ReplaceAll(ptx, ".visible", "\t.visible")); len(got) != 0 {
		t.Errorf("indented text gave %v", got)
	}
}
