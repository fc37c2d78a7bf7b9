package main

import (
	"bufio"
	"context"
	_ "embed"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"tandem/core/fault"
	"tandem/core/files"
)

// alikeTable tells which pictures are blank and which look alike; tools/openclipart-alike makes it.
//
//go:embed alike.txt
var alikeTable string

// drawing describes a drawing of the library.
type drawing struct {
	path      string // below png and svg, without the ending
	meta      metadata
	name      string   // title, or the words of the file's name
	keywords  []string // without what is no keyword, with the folders
	duplicate bool     // a link, or the pixels of another
	target    string   // the path of the drawing that a link leads to
	blank     bool
	unread    error  // why the metadata cannot be read
	group     string // drawings of a group look alike or have one name: the path of the first of all, whatever the rules
}

// crowd is the number of different pictures from which on an equal title is taken for that of a collection. The
// file's name is used instead.
const crowd = 6

// readDrawings reads what there is below root, by name. lacking counts drawings without a picture.
func readDrawings(ctx context.Context, root string, threads int) (all []*drawing, lacking []string, err error) {
	svg := filepath.Join(root, "svg")
	err = filepath.WalkDir(svg, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".svg" {
			return err
		}
		rel, err := filepath.Rel(svg, strings.TrimSuffix(file, ".svg"))
		if err != nil {
			return err
		}
		x := &drawing{path: filepath.ToSlash(rel)}
		info, err := os.Lstat(x.picture(root))
		if err != nil {
			lacking = append(lacking, x.path)
			return nil
		}
		if x.duplicate = !d.Type().IsRegular() || !info.Mode().IsRegular(); x.duplicate {
			x.target = linked(root, x.path)
		}
		all = append(all, x)
		return nil
	})
	if err != nil {
		return nil, nil, files.Error(svg, err)
	}
	var wg sync.WaitGroup
	work := make(chan *drawing)
	for range max(1, threads) {
		wg.Go(func() {
			for x := range work {
				if !x.generated() { // their names are numbers
					x.meta, x.unread = readMetadata(filepath.Join(svg, filepath.FromSlash(x.path)+".svg"))
				}
			}
		})
	}
	for _, x := range all {
		if ctx.Err() != nil {
			break
		}
		work <- x
	}
	close(work)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, fault.New(fault.Canceled, "%w", err)
	}
	together(all)
	return all, lacking, nil
}

// linked returns the path of the drawing that a link leads to, be it the picture or the SVG file that is one; "" for none.
func linked(root, name string) string {
	for _, kind := range []string{"png", "svg"} {
		file, err := filepath.EvalSymlinks(filepath.Join(root, kind, filepath.FromSlash(name)+"."+kind))
		if err != nil {
			continue
		}
		base, err := filepath.EvalSymlinks(filepath.Join(root, kind))
		if err != nil {
			continue
		}
		rel, err := filepath.Rel(base, strings.TrimSuffix(file, "."+kind))
		if rel = filepath.ToSlash(rel); err == nil && rel != name {
			return rel
		}
	}
	return ""
}

// picture returns the path of the drawing's picture.
func (d *drawing) picture(root string) string {
	return filepath.Join(root, "png", filepath.FromSlash(d.path)+".png")
}

// folders returns the names of the folders that the drawing is in.
func (d *drawing) folders() []string {
	dir := path.Dir(d.path)
	if dir == "." {
		return nil
	}
	return strings.Split(dir, "/")
}

// together names the drawings and says which belong together.
func together(all []*drawing) {
	at := make(map[string]int, len(all))
	for i, d := range all {
		at[d.path] = i
	}
	parent := make([]int, len(all))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	join := func(i, j int) {
		a, b := find(i), find(j)
		parent[max(a, b)] = min(a, b) // the first by name stands for all
	}
	lines := bufio.NewScanner(strings.NewReader(alikeTable))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		i, here := at[strings.TrimSuffix(words[1], ".png")]
		if words[0] == "#" || !here {
			continue
		}
		if words[0] == "blank" {
			all[i].blank = true
			continue
		}
		j, here := at[strings.TrimSuffix(words[2], ".png")]
		if here {
			all[i].duplicate = all[i].duplicate || words[0] == "same"
			join(i, j)
		}
	}
	titles := map[string]int{}
	for _, d := range all {
		if !d.duplicate {
			titles[strings.ToLower(d.meta.title)]++
		}
	}
	first := map[string]int{}
	for i, d := range all {
		if j, here := at[d.target]; here {
			join(i, j)
		}
		d.name = title(d.meta.title)
		if titles[strings.ToLower(d.meta.title)] >= crowd || !isWord(d.name) {
			d.name = fileName(d.path+".svg", d.meta.creator)
		}
		d.keywords = keywords(d.meta, d.folders())
		s := stem(d.name)
		if d.generated() {
			s = "shapes/stars"
		}
		if j, ok := first[s]; ok && s != "" {
			join(i, j)
		} else {
			first[s] = i
		}
	}
	for i, d := range all {
		d.group = all[find(i)].path
	}
}
