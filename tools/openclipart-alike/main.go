// Command openclipart-alike looks at the pictures of Debian's openclipart-png and lists those that are blank and those that
// look alike: the table that the dataset plugin openclipart carries, because looking takes a minute.
//
//	go run -tags libjpeg ./tools/openclipart-alike /usr/share/openclipart/png > plugins/datasets/openclipart/alike.txt
package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"tandem/core/data/alike"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk/sample"
)

// near is in how many of the 64 bits the hashes of pictures that look alike may differ.
const near = 3

// seen holds what is known of a picture.
type seen struct {
	path  string
	exact [32]byte
	look  uint64
	blank bool
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: openclipart-alike FOLDER-OF-PNG")
		os.Exit(2)
	}
	if err := list(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func list(root string, w *os.File) error {
	pictures, err := look(root)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "# Made by tools/openclipart-alike of openclipart-png 1:0.18+dfsg-19. blank PATH: one colour. same PATH FIRST: the pixels of")
	fmt.Fprintf(out, "# another. alike PATH OTHER: looks like another; pHash differs in at most %d bits of 64.\n", near)
	first := map[[32]byte]string{}
	var index alike.Index
	var kept []seen
	for _, p := range pictures {
		if p.blank {
			fmt.Fprintf(out, "blank %s\n", p.path)
			continue
		}
		if before, ok := first[p.exact]; ok {
			fmt.Fprintf(out, "same %s %s\n", p.path, before)
			continue
		}
		first[p.exact] = p.path
		for _, other := range index.Near(p.look, near) {
			fmt.Fprintf(out, "alike %s %s\n", p.path, kept[other].path)
		}
		index.Add(p.look, len(kept))
		kept = append(kept, p)
	}
	return out.Flush()
}

// look reads all pictures below root that are files of their own, by name.
func look(root string) ([]seen, error) {
	var paths []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasSuffix(filepath.ToSlash(file), "shapes/stars") {
			return filepath.SkipDir // 1375 stars that a program drew; the plugin takes them for one group
		}
		if err == nil && d.Type().IsRegular() && filepath.Ext(file) == ".png" {
			paths = append(paths, file)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]seen, len(paths))
	errs := make([]error, len(paths))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i, file := range paths {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			rel, _ := filepath.Rel(root, file)
			out[i].path = filepath.ToSlash(rel)
			p, err := sample.ReadPicture(file, vision.Options{Background: &vision.RGB{255, 255, 255}})
			if err != nil {
				errs[i] = err
				return
			}
			out[i].exact, out[i].look, out[i].blank = alike.Exact(p), alike.Perceptual(p), blank(p)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return out, nil
}

// blank reports whether a picture has one colour.
func blank(p vision.Picture) bool {
	first := [3]byte(p.Row(0))
	for y := range p.H {
		row := p.Row(y)
		for x := 0; x < len(row); x += 3 {
			if [3]byte(row[x:]) != first {
				return false
			}
		}
	}
	return true
}
