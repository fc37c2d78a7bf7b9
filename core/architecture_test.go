// Package core_test compares the package table of docs/packages.md with the code.
package core_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row holds one line of the package table.
type row struct {
	pattern string
	imports []string // of tandem, without the module's name
	alone   []string // third-party path prefixes that only rows which name them may import
}

// pkg holds what `go list` reports of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestThePackageTableIsTheCode(t *testing.T) {
	rows := readTable(t)
	used := map[string]bool{}      // rows with a package
	permitted := map[string]bool{} // "row import" that some package needs
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, "tandem/")
		i := slices.IndexFunc(rows, func(r row) bool { return matches(r.pattern, name) })
		if i < 0 {
			t.Errorf("%s is not in the table of docs/packages.md", name)
			continue
		}
		r := rows[i]
		used[r.pattern] = true
		for _, imp := range p.Imports {
			permitted[r.pattern+" "+strings.TrimPrefix(imp, "tandem/")] = true
			for _, lib := range r.alone {
				if imp == lib || strings.HasPrefix(imp, lib+"/") {
					permitted[r.pattern+" "+lib] = true
				}
			}
			if own, ok := strings.CutPrefix(imp, "tandem/"); ok {
				if !slices.Contains(r.imports, own) && !inside(r.pattern, name, own) {
					t.Errorf("%s imports %s, which its row in docs/packages.md does not allow", name, own)
				}
				continue
			}
			if owners := ownersOf(rows, imp); len(owners) > 0 && !slices.Contains(owners, r.pattern) {
				t.Errorf("%s imports %s, which only %s may", name, imp, strings.Join(owners, " and "))
			}
		}
	}
	for _, r := range rows {
		if !used[r.pattern] {
			t.Errorf("the table has a row for %s, but there is no such package", r.pattern)
			continue
		}
		for _, imp := range append(slices.Clone(r.imports), r.alone...) {
			if !permitted[r.pattern+" "+imp] {
				t.Errorf("%s may import %s and does not: remove it from its row", r.pattern, imp)
			}
		}
	}
}

// ownersOf returns the rows that name the library of an import as their own.
func ownersOf(rows []row, imp string) (owners []string) {
	for _, r := range rows {
		if slices.ContainsFunc(r.alone, func(lib string) bool { return imp == lib || strings.HasPrefix(imp, lib+"/") }) {
			owners = append(owners, r.pattern)
		}
	}
	return owners
}

// TestImportsPointDownTheGroups reads the order of the groups from docs/architecture.md. Packages of no group are the
// vocabulary and the tools.
func TestImportsPointDownTheGroups(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## The groups\n")
	table, _, _ := strings.Cut(section, "\nThe vocabulary")
	var groups []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		groups = append(groups, strings.TrimSuffix(m[1], "/"))
	}
	if len(groups) != 8 {
		t.Fatalf("docs/architecture.md orders the groups %v, want eight", groups)
	}
	place := func(name string) int {
		return slices.IndexFunc(groups, func(g string) bool { return name == g || strings.HasPrefix(name, g+"/") })
	}
	for _, r := range readTable(t) {
		for _, imp := range r.imports {
			if from, to := place(r.pattern), place(imp); from >= 0 && to >= 0 && to < from {
				t.Errorf("%s may import %s, but %s stands above %s in docs/architecture.md", r.pattern, imp, groups[to], groups[from])
			}
			if strings.HasPrefix(r.pattern, "core/") && place(r.pattern) < 0 && place(imp) >= 0 {
				t.Errorf("%s is vocabulary and may import %s", r.pattern, imp)
			}
		}
	}
}

// matches reports whether a package belongs to a row: its path is equal or, for dir/*, below dir.
func matches(pattern, name string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(name, dir+"/")
	}
	return pattern == name
}

// inside reports whether an import stays within one plugin or tool (dir/name/…).
func inside(pattern, name, imp string) bool {
	dir, ok := strings.CutSuffix(pattern, "/*")
	if !ok {
		return false
	}
	first := strings.SplitN(strings.TrimPrefix(name, dir+"/"), "/", 2)[0]
	root := path.Join(dir, first)
	return imp == root || strings.HasPrefix(imp, root+"/")
}

var code = regexp.MustCompile("`([^`]+)`")

func readTable(t *testing.T) (rows []row) {
	f, err := os.Open("../docs/packages.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 7 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			if len(rows) > 0 && lines.Text() != "" {
				t.Errorf("no row of the table: %s", lines.Text())
			}
			continue
		}
		r := row{pattern: strings.Trim(cells[1], " `"), imports: names(cells[4]), alone: names(cells[5])}
		if slices.ContainsFunc(rows, func(other row) bool { return other.pattern == r.pattern }) {
			t.Errorf("the table has two rows for %s", r.pattern)
		}
		rows = append(rows, r)
	}
	if len(rows) < 20 {
		t.Fatalf("read only %d rows of the table", len(rows))
	}
	return rows
}

func names(cell string) (found []string) {
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		found = append(found, m[1])
	}
	return found
}

// listPackages lists the packages of both builds: with every optional library and without any. Building with clipcuda needs
// another module file; listing does not.
func listPackages(t *testing.T) (packages []pkg) {
	for _, tags := range []string{"", "onednn,libjpeg,libavif,clipcuda"} {
		out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "-tags", tags, "tandem/...").Output()
		if err != nil {
			t.Fatalf("go list -tags %s: %v", tags, err)
		}
		dec := json.NewDecoder(strings.NewReader(string(out)))
		for {
			var p pkg
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if p.ImportPath != "tandem/core" {
				packages = append(packages, p)
			}
		}
	}
	return packages
}
