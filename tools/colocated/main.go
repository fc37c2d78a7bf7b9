// Command colocated writes the sources of the program that serves several plugins in one process (train.colocate): a
// package of each encoder and loss of plugins/, and a main function that lists them.
//
// A package main cannot be imported, so each plugin's files are copied under another package's name. A go.mod keeps the copies
// out of the module; a map for go build's flag -overlay puts them into plugins/colocated, a folder that does not exist.
//
//	go run ./tools/colocated bin/colocated
//	go build -overlay bin/colocated/overlay.json -o bin/plugins/colocated ./plugins/colocated
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: colocated FOLDER")
		os.Exit(2)
	}
	w := writer{overlay: map[string]string{}}
	if err := w.write(".", os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// writer collects the program.
type writer struct {
	root, to string            // of the module, and of the copies; absolute
	overlay  map[string]string // path in the module → the file that stands there
	imports  []string          // of the plugins: lines
	lists    map[string][]string
}

// write copies the plugins of the module at root into a folder, with the program and the overlay.
func (w *writer) write(root, to string) (err error) {
	if w.root, err = filepath.Abs(root); err != nil {
		return err
	}
	if w.to, err = filepath.Abs(to); err != nil {
		return err
	}
	if err := os.RemoveAll(w.to); err != nil {
		return err
	}
	w.lists = map[string][]string{}
	for _, kind := range []string{"encoders", "losses"} {
		mains, err := filepath.Glob(filepath.Join(w.root, "plugins", kind, "*", "main.go"))
		if err != nil {
			return err
		}
		for _, file := range mains {
			if err := w.plugin(kind, filepath.Dir(file)); err != nil {
				return err
			}
		}
	}
	if err := w.put("main.go", w.program()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.to, "go.mod"), []byte("module colocated\n"), 0o644); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": w.overlay}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.to, "overlay.json"), text, 0o644)
}

// put writes a file that stands in plugins/colocated.
func (w *writer) put(name string, text []byte) error {
	file := filepath.Join(w.to, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	w.overlay[filepath.Join(w.root, "plugins", "colocated", filepath.FromSlash(name))] = file
	return os.WriteFile(file, text, 0o644)
}

// serve names the functions of core/plugin/sdk that a plugin's main function calls, by the folder of its kind.
var serve = map[string]string{"encoders": "ServeEncoder", "losses": "ServeLoss"}

// plugin copies a plugin of one folder. One whose main function does more than to serve an exported variable is left out: it
// keeps its own process.
func (w *writer) plugin(kind, dir string) error {
	name := filepath.Base(dir)
	variable, err := servedBy(filepath.Join(dir, "main.go"), serve[kind])
	if err != nil {
		return err
	}
	if variable == "" {
		fmt.Printf("%s/%s is served by itself alone: its main function is not sdk.%s(Plugin)\n", kind, name, serve[kind])
		return nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	as := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, kind+"_"+name)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if text, err = renamed(file, text, as); err != nil {
			return err
		}
		if err := w.put(path.Join(kind, name, filepath.Base(file)), text); err != nil {
			return err
		}
	}
	w.imports = append(w.imports, fmt.Sprintf("%s %q", as, "tandem/plugins/colocated/"+kind+"/"+name))
	w.lists[kind] = append(w.lists[kind], as+"."+variable)
	return nil
}

// servedBy returns the exported variable that the one statement of a file's main function serves; "" when it does something
// else.
func servedBy(file, serve string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return "", err
	}
	for _, d := range f.Decls {
		main, ok := d.(*ast.FuncDecl)
		if !ok || main.Name.Name != "main" || len(main.Body.List) != 1 {
			continue
		}
		statement, _ := main.Body.List[0].(*ast.ExprStmt)
		if statement == nil {
			continue
		}
		call, _ := statement.X.(*ast.CallExpr)
		if call == nil || len(call.Args) != 1 {
			continue
		}
		function, _ := call.Fun.(*ast.SelectorExpr)
		variable, _ := call.Args[0].(*ast.Ident)
		if function != nil && function.Sel.Name == serve && variable != nil && variable.IsExported() {
			return variable.Name, nil
		}
	}
	return "", nil
}

// renamed returns a file's text as that of another package. Lines keep their numbers.
func renamed(file string, text []byte, pkg string) ([]byte, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, text, parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	from := set.Position(f.Name.Pos()).Offset
	to := set.Position(f.Name.End()).Offset
	return bytes.Join([][]byte{text[:from], []byte(pkg), text[to:]}, nil), nil
}

// program returns the main function.
func (w *writer) program() []byte {
	return fmt.Appendf(nil, `// Command colocated serves plugins of one build in one process.
package main

import (
	"tandem/core/plugin/sdk"

	%s
)

func main() {
	sdk.ServeColocated(sdk.Colocated{
		Encoders: []sdk.Encoder{%s},
		Losses:   []sdk.Loss{%s},
	})
}
`, strings.Join(w.imports, "\n\t"), strings.Join(w.lists["encoders"], ", "), strings.Join(w.lists["losses"], ", "))
}
