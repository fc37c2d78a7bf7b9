package infer

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
)

// readPicture reads a picture file that the user named. A file that is no picture is fault.Invalid: the user gave
// it, tandem does not keep it.
func readPicture(file string) (vision.Picture, error) {
	data, err := files.Read(file, vision.MaxFileBytes)
	if err != nil {
		return vision.Picture{}, err
	}
	p, err := vision.DecodeFile(file, data, vision.Options{})
	if f, ok := err.(*fault.Error); ok {
		f.Kind = fault.Invalid
	}
	return p, err
}

// Pictures lists the picture files that name stands for: of a folder, all below it as datasets find them, sorted;
// of a text file, those it lists, one per line, relative to its folder. The remarks say what was passed over.
func Pictures(ctx context.Context, name string) (list, remarks []string, err error) {
	stat, err := os.Stat(name)
	if err != nil {
		return nil, nil, files.Error(name, err)
	}
	if stat.IsDir() {
		found, err := files.Pictures(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		list, remarks = found.Pictures, found.Remarks()
	} else if list, err = Lines(name); err != nil {
		return nil, nil, err
	}
	folder := name
	if !stat.IsDir() {
		folder = filepath.Dir(name)
	}
	for i, f := range list {
		if !filepath.IsAbs(f) {
			list[i] = filepath.Join(folder, f)
		}
	}
	if len(list) == 0 {
		return nil, nil, fault.New(fault.Invalid, "no pictures in %s", name).
			WithHint("a folder of %s files, or a text file with a path per line", strings.Join(files.PictureEndings, " "))
	}
	return list, remarks, nil
}

// Lines returns the lines of a text file that are not blank, without a byte order mark.
func Lines(name string) ([]string, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		text := strings.TrimSuffix(in.Text(), "\r")
		if len(lines) == 0 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if strings.TrimSpace(text) != "" {
			lines = append(lines, text)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err).WithFile(name, len(lines)+1, 0)
	}
	return lines, nil
}
