package build

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"

	"tandem/core/data/build/ledger"
	"tandem/core/data/fetch"
	"tandem/core/data/object"
	"tandem/core/data/warc"
	"tandem/core/fault"
)

// archive is a WARC file.
type archive struct {
	file    object.Object
	id      int
	respect bool
	blobs   *blobs
}

func openArchive(ctx context.Context, store *object.Store, name string, id int, respect bool, b *blobs) (*archive, error) {
	o, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &archive{o, id, respect, b}, nil
}

func (a *archive) name() string  { return path.Base(a.file.Name()) }
func (a *archive) stamp() string { return a.file.Version() }
func (a *archive) size() int64   { return a.file.Size() }
func (a *archive) close() error  { return a.file.Close() }

func (a *archive) find(string) (ledger.Place, bool, error) { return ledger.Place{}, false, nil }

func (a *archive) read(ctx context.Context, is ledger.Source, emit func(func() finding) error) error {
	r := warc.NewReader(a.file, a.file.Size(), warc.Limits{})
	r.From(is.Start)
	for n := is.Mark; ; n++ {
		if err := ctx.Err(); err != nil {
			return fault.New(fault.Canceled, "%w", err)
		}
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if n < is.Documents {
			continue
		}
		f := finding{at: r.Offset()}
		if err != nil {
			var known *fault.Error
			if !errors.As(err, &known) { // the disk, the network
				return fault.New(fault.Unavailable, "%w", err).WithFile(a.file.Name(), 0, 0)
			}
			f.skips = []skip{{"records", fault.ReasonOf(err), 1, a.name() + ": " + err.Error()}}
			if err := emit(func() finding { return f }); err != nil {
				return err
			}
			continue
		}
		if rec.Place.Skip == 0 {
			f.start = rec.Place.Offset
		}
		job, err := a.document(rec, f)
		if err != nil {
			return err
		}
		if err := emit(job); err != nil {
			return err
		}
	}
}

// document returns what is to be done with a record. It reads the record's content.
func (a *archive) document(rec *warc.Record, f finding) (func() finding, error) {
	done := func() finding { return f }
	skipped := func(reason string) (func() finding, error) {
		f.skips = []skip{{"records", reason, 1, rec.URI}}
		return done, nil
	}
	switch {
	case rec.Type != "response" && rec.Type != "resource":
		return done, nil // requests, metadata, revisits
	case !strings.HasPrefix(rec.URI, "http://") && !strings.HasPrefix(rec.URI, "https://"):
		return skipped("bad address")
	}
	res, err := rec.Response(maxPicture)
	if err != nil {
		return skipped(fault.ReasonOf(err))
	}
	rights := fetch.Directives(res.Header, robot)
	address, _, _ := strings.Cut(rec.URI, "#")
	switch {
	case res.Status != http.StatusOK:
		return skipped("no page or picture: status " + http.StatusText(res.Status))
	case res.Type == "text/html" || res.Type == "application/xhtml+xml":
		if len(res.Body) > maxPage {
			return skipped("too many bytes")
		}
		contentType := res.Header.Get("Content-Type")
		return func() finding {
			page := pageOf(res.Body, contentType, address, rights, a.respect)
			page.at, page.start = f.at, f.start
			return page
		}, nil
	case strings.HasPrefix(res.Type, "image/") || ending(res.Body) != "":
		at := ledger.Place{Kind: "warc", Source: a.id, Start: rec.Place.Offset, Skip: rec.Place.Skip}
		if rec.Place.Skip > 0 { // what lies far into a compressed stream is not found again fast
			if err := a.blobs.put(address, res.Body); err != nil {
				return nil, err
			}
			at = ledger.Place{Kind: "blob"}
		}
		f.body = &foundBody{url: address, at: at}
		if a.respect {
			f.body.refused = rights.Refuses(true)
		}
	}
	return done, nil
}

func (a *archive) open(_ context.Context, at ledger.Place) ([]byte, error) {
	rec, err := warc.NewReader(a.file, a.file.Size(), warc.Limits{}).At(warc.Place{Offset: at.Start, Skip: at.Skip})
	if err != nil {
		return nil, err
	}
	res, err := rec.Response(maxPicture)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}
