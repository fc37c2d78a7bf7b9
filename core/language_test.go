package core_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// definition matches a comment that defines its name ("X is …", "Xs are …") instead of saying what it does.
var definition = regexp.MustCompile(`^\S+( and \S+)? (is|are)\b`)

// Doc comments say what a thing does, in the third person, as those of the standard library do: "Forward returns …".
// At most 12 % of them define.
func TestDocCommentsBeginWithAVerb(t *testing.T) {
	const most = 0.12
	all, defining := 0, 0
	byFolder := map[string][2]int{}
	for _, root := range []string{".", "../cmd", "../plugins", "../tools"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			for _, c := range documented(file) {
				n := byFolder[filepath.Dir(path)]
				all, n[0] = all+1, n[0]+1
				if definition.MatchString(c) {
					defining, n[1] = defining+1, n[1]+1
				}
				byFolder[filepath.Dir(path)] = n
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for folder, n := range byFolder {
		t.Logf("%3d of %3d  %s", n[1], n[0], folder)
	}
	if share := float64(defining) / float64(all); share > most || all < 1000 {
		t.Errorf("%d of %d doc comments (%.1f %%) begin \"X is\" or \"X are\", at most %.0f %% may", defining, all, 100*share, 100*most)
	}
}

// documented lists the doc comments of a file's functions, types, constants and variables.
func documented(file *ast.File) (comments []string) {
	add := func(c *ast.CommentGroup) {
		if c != nil {
			comments = append(comments, c.Text())
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Doc)
		case *ast.GenDecl:
			add(d.Doc)
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Doc)
				case *ast.ValueSpec:
					add(s.Doc)
				}
			}
		}
	}
	return comments
}
