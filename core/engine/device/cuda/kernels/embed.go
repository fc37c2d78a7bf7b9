// Package kernels carries the kernels of the CUDA backend as PTX, the virtual machine code that the driver
// translates for the GPU it finds. `make ptx` makes it from the .cu files here (tools/cuda/ptx), and it is
// committed: neither building nor running needs NVIDIA's compiler.
package kernels

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed ptx
var files embed.FS

// Module holds the PTX of one .cu file for one compute capability and those after it.
type Module struct {
	Name       string // of the .cu file, without its ending
	Capability int    // 10 major + minor, as 70 and 80
	PTX        string
	Entries    []Entry // in the order of the text
}

// Entry describes a kernel of a module.
type Entry struct {
	Name       string
	Params     int // all eight bytes wide
	MaxThreads int // threads of a block at most, from __launch_bounds__; 0 without them
	MinBlocks  int // blocks that a multiprocessor shall hold at once, from __launch_bounds__; 1 unless it says more
}

// For returns the modules to load on a GPU of this compute capability (10 major + minor), sorted by name: of each
// .cu file the PTX for the highest capability that is not above it. GPUs older than 70 get none.
//
// The modules are shared: they must not be changed.
func For(capability int) []Module {
	var found []Module
	for _, m := range all() { // sorted by name, then capability
		if m.Capability > capability {
			continue
		}
		if n := len(found); n > 0 && found[n-1].Name == m.Name {
			found[n-1] = m
			continue
		}
		found = append(found, m)
	}
	return found
}

// Entries returns the kernels of For(capability) by name.
func Entries(capability int) map[string]Entry {
	entries := map[string]Entry{}
	for _, m := range For(capability) {
		for _, e := range m.Entries {
			entries[e.Name] = e
		}
	}
	return entries
}

var all = sync.OnceValue(func() []Module {
	list, err := files.ReadDir("ptx")
	if err != nil {
		panic(err)
	}
	var modules []Module
	for _, f := range list {
		stem, isPTX := strings.CutSuffix(f.Name(), ".ptx")
		if !isPTX {
			continue
		}
		text, err := files.ReadFile("ptx/" + f.Name())
		if err != nil {
			panic(err)
		}
		cut := strings.LastIndexByte(stem, '_')
		capability, err := strconv.Atoi(stem[cut+1:])
		if cut < 1 || err != nil {
			panic(fmt.Sprintf("core/engine/device/cuda/kernels/ptx/%s: want NAME_CAPABILITY.ptx", f.Name()))
		}
		modules = append(modules, Module{stem[:cut], capability, string(text), entriesOf(string(text))})
	}
	slices.SortFunc(modules, func(a, b Module) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return a.Capability - b.Capability
	})
	return modules
})

var (
	entryPattern = regexp.MustCompile(`(?m)^\.visible \.entry ([A-Za-z0-9_]+)\(([^)]*)\)((?:\s*\.(?:maxntid|minnctapersm|maxnreg|reqntid)[^\n]*)*)`)
	maxThreads   = regexp.MustCompile(`\.maxntid (\d+), (\d+), (\d+)`)
	minBlocks    = regexp.MustCompile(`\.minnctapersm (\d+)`)
)

func entriesOf(ptx string) []Entry {
	var entries []Entry
	for _, m := range entryPattern.FindAllStringSubmatch(ptx, -1) {
		e := Entry{Name: m[1], Params: strings.Count(m[2], ".param"), MinBlocks: 1}
		if n := minBlocks.FindStringSubmatch(m[3]); n != nil {
			e.MinBlocks, _ = strconv.Atoi(n[1])
		}
		if n := maxThreads.FindStringSubmatch(m[3]); n != nil {
			e.MaxThreads = 1
			for _, s := range n[1:] {
				v, _ := strconv.Atoi(s)
				e.MaxThreads *= v
			}
		}
		entries = append(entries, e)
	}
	return entries
}
