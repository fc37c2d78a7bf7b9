package build

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"tandem/core/data/build/ledger"
	"tandem/core/data/fetch"
	"tandem/core/data/object"
	"tandem/core/data/pages"
	"tandem/core/fault"
)

// Limits of what is read from sources.
const (
	maxPage    = 16 << 20 // bytes of a page
	maxPicture = 64 << 20 // bytes of a picture
	maxFiles   = 4 << 20  // files of a folder
)

// source is one archive, folder or list. Its documents have a fixed order.
type source interface {
	// name returns what people know the source by; it is written beside the samples.
	name() string
	// stamp returns a text that changes with the content.
	stamp() string
	// size returns the length of the source, in the unit of finding.at.
	size() int64
	// read calls emit for each document that is not read, in order. What emit gets may be called from another goroutine.
	read(ctx context.Context, is ledger.Source, emit func(func() finding) error) error
	// open returns the bytes of a picture at a place of this source.
	open(ctx context.Context, at ledger.Place) ([]byte, error)
	// find returns the place of a picture by its address; false when the source does not know such addresses.
	find(address string) (at ledger.Place, known bool, err error)
	close() error
}

// finding is what one document gave.
type finding struct {
	at    int64 // how far into the source the document is
	start int64 // where it begins, when reading may begin there; otherwise 0
	page  *foundPage
	body  *foundBody
	skips []skip
}

// foundPage is a page, or an entry of a list, with its pictures.
type foundPage struct {
	url, title string
	refused    string // a directive of its owner
	pictures   []pages.Picture
	shared     bool // entries of one list have one page
}

// foundBody is a picture that a source holds.
type foundBody struct {
	url     string
	at      ledger.Place
	refused string
}

// skip is something left out.
type skip struct {
	stage, reason string
	count         int
	what          string
}

// robot is the name by which pages may address us in their directives.
const robot = "tandem"

// pageOf reads a page.
func pageOf(data []byte, contentType, address string, rights fetch.Rights, respect bool) (f finding) {
	p, err := pages.Parse(data, contentType, address, pages.Limits{})
	if err != nil {
		f.skips = append(f.skips, skip{"pages", fault.ReasonOf(err), 1, address})
		return f
	}
	for _, r := range p.Robots {
		rights = rights.With(r)
	}
	rights.Reserved = rights.Reserved || p.Reserved
	f.page = &foundPage{url: address, title: p.Title, pictures: p.Pictures}
	if respect {
		f.page.refused = rights.Refuses(true)
	}
	for reason, n := range p.Skipped {
		stage := "pictures"
		if reason == "text cut" {
			stage = "texts"
		}
		f.skips = append(f.skips, skip{stage, reason, n, address})
	}
	return f
}

// openSources opens what a configuration names.
func openSources(ctx context.Context, c *Config, store *object.Store, b *blobs) (all []source, err error) {
	defer func() {
		if err != nil {
			closeSources(all)
		}
	}()
	respect := c.Filters.Directives.On
	hosts := map[string]bool{}
	host := func(p string) string { // a name of its own for each folder
		abs, err := filepath.Abs(p)
		if err != nil {
			abs = p
		}
		base := strings.ToLower(strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
				return r
			}
			return '-'
		}, filepath.Base(abs)))
		name := base
		for i := 2; hosts[name]; i++ {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		hosts[name] = true
		return name
	}
	for i, s := range c.Sources {
		at := fmt.Sprintf("sources[%d]", i)
		switch {
		case s.WARC != "":
			names, err := store.List(ctx, c.path(s.WARC))
			if err != nil {
				return all, keyed(err, at+".warc")
			}
			for _, name := range names {
				w, err := openArchive(ctx, store, name, len(all), respect, b)
				if err != nil {
					return all, keyed(err, at+".warc")
				}
				all = append(all, w)
			}
		case s.HTML != "":
			f, err := openFolder(ctx, c.path(s.HTML), len(all), host(c.path(s.HTML)), s.Base, respect)
			if err != nil {
				return all, keyed(err, at+".html")
			}
			all = append(all, f)
		default:
			l, err := openList(ctx, store, c.path(s.List), len(all), host(path.Dir(c.path(s.List))), s)
			if err != nil {
				return all, keyed(err, at+".list")
			}
			all = append(all, l)
		}
	}
	return all, nil
}

// keyed adds the key of the configuration to an error.
func keyed(err error, path string) error {
	if e, ok := err.(*fault.Error); ok && e.Path == "" {
		e.Path = path
	}
	return err
}

func closeSources(all []source) {
	for _, s := range all {
		s.close()
	}
}
