package starter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
)

// folder looks at a folder of pictures: class folders, text files beside pictures, or both, perhaps below train and val.
func (d *Data) folder(ctx context.Context, root string) error {
	list, err := files.Pictures(ctx, root)
	if err != nil {
		return err
	}
	if len(list.Pictures) == 0 {
		return fault.New(fault.NotFound, "no pictures and no table").WithFile(root, 0, 0).
			WithHint("expected are a folder of pictures for each class, a text file beside each picture, or a .csv or .tsv with a column of picture files; --data names another place%s", passedOver(list))
	}
	if train, eval := divided(root, list.Pictures); train != "" {
		held, err := files.Pictures(ctx, eval)
		if err != nil {
			return err
		}
		d.Eval = &Part{Path: eval, Pictures: len(held.Pictures)}
		root = train
		if list, err = files.Pictures(ctx, root); err != nil {
			return err
		}
	}
	d.Train = Part{Path: root}
	d.Remarks = append(d.Remarks, list.Remarks()...)
	with, classes := 0, map[string]bool{}
	for _, p := range list.Pictures {
		class, _, deep := strings.Cut(p, "/")
		text, own := sidecar(filepath.Join(root, filepath.FromSlash(p)))
		switch {
		case own:
			with++
			d.words(text)
		case !deep:
			d.Loose++
			continue
		}
		if deep {
			classes[class] = true
		}
		d.Train.Pictures++
	}
	for class := range classes {
		d.Classes = append(d.Classes, class)
	}
	slices.Sort(d.Classes)
	d.NClasses = len(d.Classes)
	d.Classes = d.Classes[:min(len(d.Classes), maxClasses)]
	d.Captions = 2*with > d.Train.Pictures
	switch {
	case d.Train.Pictures == 0:
		return fault.New(fault.Invalid, "%s without captions", count(d.Loose, "picture")).WithFile(root, 0, 0).
			WithHint("put the pictures of each class into a folder called after it, write a text file beside each picture (cat.txt beside cat.jpg), or a table with the columns image and caption")
	case d.NClasses == 1 && with == 0:
		return fault.New(fault.Invalid, "all pictures lie in one folder, %s: there is nothing to tell apart", d.Classes[0]).WithFile(root, 0, 0).
			WithHint("a folder for each class, or a text file beside each picture (cat.txt beside cat.jpg)")
	}
	d.sizes(root, list.Pictures)
	return nil
}

// passedOver says what else a folder without pictures holds.
func passedOver(list *files.Listing) string {
	if r := list.Remarks(); len(r) > 0 {
		return " (" + strings.Join(r, "; ") + ")"
	}
	return ""
}

// divided returns the folders to train on and to evaluate on, when all pictures are below folders with such names.
func divided(root string, pictures []string) (train, eval string) {
	var folders []string
	for _, p := range pictures {
		first, _, deep := strings.Cut(p, "/")
		if !deep || !slices.Contains(slices.Concat(trainNames, evalNames), strings.ToLower(first)) {
			return "", ""
		}
		if !slices.Contains(folders, first) {
			folders = append(folders, first)
		}
	}
	train, eval = pick(folders, trainNames), pick(folders, evalNames)
	if train == "" || eval == "" {
		return "", ""
	}
	return filepath.Join(root, train), filepath.Join(root, eval)
}

// sidecar returns the text beside a picture: cat.txt beside cat.jpg.
func sidecar(picture string) (string, bool) {
	const limit = 1 << 16
	text, err := files.Read(strings.TrimSuffix(picture, filepath.Ext(picture))+".txt", limit)
	return string(text), err == nil && strings.TrimSpace(string(text)) != ""
}

// words remembers the length of the longest caption.
func (d *Data) words(captions string) {
	for line := range strings.Lines(captions) {
		d.Words = max(d.Words, len(strings.Fields(line)))
	}
}

// sizes looks at some of the pictures, evenly spread, and keeps the median size. It remarks on those that cannot be read.
func (d *Data) sizes(root string, pictures []string) {
	const looks, limit = 24, 64 << 20
	var w, h []int
	tried, firstError := 0, ""
	for i := 0; i < len(pictures); i += max(1, len(pictures)/looks) {
		path := below(root, pictures[i])
		tried++
		data, err := files.Read(path, limit)
		if err == nil {
			var p vision.Picture
			if p, err = vision.DecodeFile(path, data, vision.Options{}); err == nil {
				w, h = append(w, p.W), append(h, p.H)
				continue
			}
		}
		if firstError == "" {
			firstError = err.Error()
		}
	}
	if bad := tried - len(w); bad > 0 {
		d.Remarks = append(d.Remarks, fmt.Sprintf("%d of %d pictures looked at cannot be read, the first: %s", bad, tried, firstError))
	}
	if len(w) > 0 {
		slices.Sort(w)
		slices.Sort(h)
		d.PictureWidth, d.PictureHeight = w[len(w)/2], h[len(h)/2]
	}
}

// below returns the path of a picture that is named relative to a folder, or in full.
func below(root, picture string) string {
	if picture = filepath.FromSlash(picture); filepath.IsAbs(picture) {
		return picture
	}
	return filepath.Join(root, picture)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
