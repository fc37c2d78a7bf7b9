package main

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/sdk/sample"
)

// english names the language of the first line of a caption file.
const english = "en"

// allLanguages asks for every language.
const allLanguages = "all"

// stamp describes a picture with its captions.
type stamp struct {
	file  string   // below the folder of the stamps, with slashes
	texts []spoken // English first
}

// spoken holds a caption and the language it is in.
type spoken struct{ language, text string }

// listing holds what a folder of stamps has.
type listing struct {
	root   string
	stamps []stamp
	broken []error // caption files that cannot be read

	drawings  int // SVG files
	silent    int // pictures without a caption file
	without   int // stamps without a caption in the languages
	elsewhere int // of the other split
	otherKind int
}

// readStamps lists the stamps below root by name. Mirrored and flipped variants of a picture are no stamps of their own.
func readStamps(root string) (*listing, error) {
	out := &listing{root: root}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		base := strings.TrimSuffix(file, filepath.Ext(file))
		if filepath.Ext(file) == ".svg" {
			out.drawings++
		}
		if filepath.Ext(file) != ".png" || strings.HasSuffix(base, "_mirror") || strings.HasSuffix(base, "_flip") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		texts, err := readCaptions(base + ".txt")
		switch {
		case fault.KindOf(err) == fault.NotFound:
			out.silent++
		case err != nil:
			out.broken = append(out.broken, err)
		default:
			out.stamps = append(out.stamps, stamp{filepath.ToSlash(rel), texts})
		}
		return nil
	})
	if err != nil {
		return nil, files.Error(root, err)
	}
	return out, nil
}

// readCaptions reads a caption file: the English caption in the first line, then translations such as "de.utf8=Ein Hund".
func readCaptions(file string) ([]spoken, error) {
	data, err := files.Read(file, 1<<20)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, fault.New(fault.Corrupt, "captions are not UTF-8").WithFile(file, 0, 0).WithReason("not UTF-8")
	}
	var out []spoken
	first := true
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		language, text := english, line
		if !first {
			var ok bool
			if language, text, ok = strings.Cut(line, ".utf8="); !ok {
				continue
			}
		}
		first = false
		if text = strings.Join(strings.Fields(text), " "); text != "" {
			out = append(out, spoken{language, text})
		}
	}
	return out, nil
}

// captions returns the captions in languages, each text once.
func (s stamp) captions(languages []string) []string {
	var out sample.Distinct
	for _, t := range s.texts {
		if slices.Contains(languages, t.language) || slices.Contains(languages, allLanguages) {
			out.Add(t.text)
		}
	}
	return out.List
}

// stem returns what stamps of one thing have in common, which are kept in one split: the letters of the English caption,
// or of the file name where there is none.
func (s stamp) stem() string {
	text := path.Base(strings.TrimSuffix(s.file, ".png"))
	if len(s.texts) > 0 && s.texts[0].language == english {
		text = s.texts[0].text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// name returns the words of the file name behind those of the folder that it is in: "birds heron great blue".
func (s stamp) name() string {
	words := strings.FieldsFunc(path.Base(strings.TrimSuffix(s.file, ".png")), func(r rune) bool { return !unicode.IsLetter(r) })
	kind := s.subfolder()
	if kind == "" {
		kind = s.folder()
	}
	return strings.TrimSpace(kind[strings.LastIndex(kind, "/")+1:] + " " + strings.ToLower(strings.Join(words, " ")))
}

// folder returns the name of the first folder.
func (s stamp) folder() string {
	first, _, nested := strings.Cut(s.file, "/")
	if !nested {
		return ""
	}
	return folderName(first)
}

// subfolder returns the names of the first two folders, "animals/birds"; "" for a stamp in a first folder.
func (s stamp) subfolder() string {
	parts := strings.Split(path.Dir(s.file), "/")
	if len(parts) < 2 || parts[1] == "cartoon" {
		return ""
	}
	return folderName(parts[0]) + "/" + folderName(parts[1])
}

// folderNames returns the names of the first two folders, as one says them.
func (s stamp) folderNames() (names []string) {
	subfolder := s.subfolder()
	for _, name := range []string{s.folder(), subfolder[strings.LastIndex(subfolder, "/")+1:]} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// folderName returns a folder's name as people write it.
func folderName(folder string) string {
	switch folder {
	case "naturalforces":
		return "natural forces"
	case "roadsigns":
		return "road signs"
	}
	return strings.TrimLeft(strings.ReplaceAll(folder, "_", " "), "0123456789 ")
}

// classes returns the folders and the subfolders of all stamps, so that ids do not depend on the split.
func (l *listing) classes() (folders, subfolders *sample.Classes) {
	folders, subfolders = &sample.Classes{}, &sample.Classes{}
	for _, s := range l.stamps {
		folders.Add(s.folder())
		subfolders.Add(s.subfolder())
	}
	return folders, subfolders
}

// leftOut tells what became of the other stamps.
func (l *listing) leftOut() string {
	out := ""
	for _, part := range []struct {
		n    int
		what string
	}{{l.elsewhere, "of the other split"}, {l.without, "without a caption in the languages"}, {l.otherKind, "of the other kind"},
		{l.drawings, "SVG drawings left out"}, {l.silent, "pictures without captions"}} {
		if part.n > 0 {
			out += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return out
}
