// Command sass looks at the machine code of the kernels, as NVIDIA's disassembler prints it, and demands what only that can
// show: instructions of the tensor cores in the kernels that should use them, loads of 128 bits in those that should move
// memory so, and no local memory, which is where registers go that do not suffice.
//
//	go run ./tools/cuda/sass PROMISES FOLDER     # FOLDER has NAME.CAPABILITY.sass files
//
// tools/cuda/sass.sh makes the folder. Each line of PROMISES is a word and a pattern of kernels' names (path.Match):
//
//	tensor conv_*_bf16      from capability 8.0 on they use HMMA or HGMMA
//	wide   layer_norm_*     they have LDG.E.128
//	local  gather_back_any  they may use local memory: the reason is behind a #
//
// A pattern that names no kernel is an error too.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sass PROMISES FOLDER")
		os.Exit(2)
	}
	bad, kernels, err := run(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sass:", err)
		os.Exit(2)
	}
	for _, b := range bad {
		fmt.Println("sass:", b)
	}
	fmt.Printf("sass: %d kernels, %d broken promises\n", kernels, len(bad))
	if len(bad) > 0 {
		os.Exit(1)
	}
}

func run(promises, folder string) (bad []string, kernels int, err error) {
	text, err := os.ReadFile(promises)
	if err != nil {
		return nil, 0, err
	}
	wanted, err := parsePromises(string(text))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", promises, err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.sass"))
	if err != nil || len(files) == 0 {
		return nil, 0, fmt.Errorf("%s has no .sass files", folder)
	}
	var all []kernel
	for _, file := range files {
		found, err := read(file)
		if err != nil {
			return nil, 0, err
		}
		if len(found) == 0 {
			return nil, 0, fmt.Errorf("%s has no kernels", file)
		}
		all = append(all, found...)
	}
	return check(all, wanted), len(all), nil
}

// promise says what is demanded, or allowed, of kernels.
type promise struct{ word, pattern string }

func parsePromises(text string) (list []promise, err error) {
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 || !slices.Contains([]string{"tensor", "wide", "local"}, words[0]) {
			return nil, fmt.Errorf("line %d: want tensor, wide or local, and a pattern", n+1)
		}
		if _, err := path.Match(words[1], ""); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		list = append(list, promise{words[0], words[1]})
	}
	return list, nil
}

// kernel counts the instructions of a kernel that matter here.
type kernel struct {
	file, name                string
	all, tensor, wide, global int
	local                     int
}

var (
	section     = regexp.MustCompile(`^\s*\.section\s+\.text\.([A-Za-z0-9_]+),`)
	otherPart   = regexp.MustCompile(`^\s*\.section\s`)
	instruction = regexp.MustCompile(`^\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?U?P[0-9T]+\s+)?([A-Z][A-Z0-9_.]*)`)
)

// read counts the instructions of every kernel in a file.
func read(file string) (list []kernel, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	inside := false
	for lines.Scan() {
		if m := section.FindStringSubmatch(lines.Text()); m != nil {
			list, inside = append(list, kernel{file: strings.TrimSuffix(filepath.Base(file), ".sass"), name: m[1]}), true
			continue
		}
		if otherPart.MatchString(lines.Text()) {
			inside = false
		}
		if m := instruction.FindStringSubmatch(lines.Text()); inside && m != nil {
			list[len(list)-1].count(m[1])
		}
	}
	return list, lines.Err()
}

func (k *kernel) count(op string) {
	k.all++
	name, _, _ := strings.Cut(op, ".")
	switch name {
	case "HMMA", "HGMMA", "QGMMA":
		k.tensor++
	case "LDG", "LD", "LDGSTS":
		k.global++
		if strings.HasSuffix(op, ".128") || strings.Contains(op, ".128.") {
			k.wide++
		}
	case "LDL", "STL":
		k.local++
	}
}

// check returns the promises that kernels break.
func check(all []kernel, wanted []promise) (bad []string) {
	for _, p := range wanted {
		if !slices.ContainsFunc(all, func(k kernel) bool { return p.names(k) }) {
			bad = append(bad, fmt.Sprintf("%s %s: there is no such kernel", p.word, p.pattern))
		}
	}
	for _, k := range all {
		promised := func(word string) bool {
			return slices.ContainsFunc(wanted, func(p promise) bool { return p.word == word && p.names(k) })
		}
		of := k.file + ": " + k.name
		if k.all == 0 {
			bad = append(bad, of+" has no instructions that could be read")
		}
		if promised("tensor") && k.tensor == 0 {
			bad = append(bad, of+" uses no tensor cores")
		}
		if promised("wide") && k.wide == 0 {
			bad = append(bad, fmt.Sprintf("%s has no load of 128 bits among %d", of, k.global))
		}
		if k.local > 0 && !promised("local") {
			bad = append(bad, fmt.Sprintf("%s uses local memory, %d times", of, k.local))
		}
	}
	return bad
}

func (p promise) names(k kernel) bool { ok, _ := path.Match(p.pattern, k.name); return ok }
