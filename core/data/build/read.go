package build

import (
	"context"
	"errors"
	"time"

	"tandem/core/data/build/ledger"
	"tandem/core/data/pages"
)

// A transaction holds what was found in so many documents or so long.
const (
	batchRows = 256
	batchTime = time.Second
)

// read puts the candidates and pictures of all sources into the ledger. It goes on where it was killed.
func (b *builder) read(ctx context.Context) error {
	known, err := b.ledger.Sources()
	if err != nil {
		return err
	}
	for i, s := range b.sources {
		if known[i].Done {
			continue
		}
		if err := b.readSource(ctx, s, known[i]); err != nil {
			return err
		}
	}
	return b.reach(ctx, stageRead)
}

func (b *builder) readSource(ctx context.Context, s source, row ledger.Source) error {
	var batch []finding
	began := time.Now()
	commit := func() error {
		if err := b.ledger.Update(ctx, func(tx *ledger.Tx) error {
			for _, f := range batch {
				b.note(tx, row.ID, f)
			}
			tx.SetSource(row)
			return nil
		}); err != nil {
			return err
		}
		batch, began = batch[:0], time.Now()
		return nil
	}
	begin := row
	err := inOrder(ctx, b.threads, func(ctx context.Context, emit func(func() finding) error) error {
		return s.read(ctx, begin, emit)
	}, func(f finding) error {
		batch = append(batch, f)
		if f.start > 0 {
			row.Mark, row.Start = row.Documents, f.start
		}
		row.Documents++
		b.watch.Progress("reading "+s.name(), f.at, s.size())
		if len(batch) >= batchRows || time.Since(began) > batchTime {
			return commit()
		}
		return nil
	})
	if err != nil {
		if ctx.Err() != nil { // what was read before Ctrl-C stays read
			ctx = context.WithoutCancel(ctx)
			return errors.Join(commit(), err)
		}
		return err
	}
	row.Done = true
	return commit()
}

// note puts one document into the ledger.
func (b *builder) note(tx *ledger.Tx, source int, f finding) {
	for _, s := range f.skips {
		tx.Skip(s.stage, s.reason, s.count, s.what)
	}
	if f.body != nil {
		tx.AddBody(f.body.url, f.body.at, f.body.refused)
	}
	p := f.page
	if p == nil {
		return
	}
	id, added := tx.AddPage(p.url, source, p.title)
	if !added && !p.shared {
		tx.Skip("pages", "duplicate page", 1, p.url)
		return
	}
	if !added {
		id = tx.PageOf(p.url)
	}
	state, filter := ledger.Found, ""
	if p.refused != "" {
		state, filter = ledger.Refused, "directives"
	}
	for _, pic := range p.pictures {
		tx.AddCandidate(id, pic.URLs, texts(pic.Texts), state, filter, p.refused)
	}
}

func texts(all []pages.Text) []ledger.Text {
	out := make([]ledger.Text, len(all))
	for i, t := range all {
		out[i] = ledger.Text(t)
	}
	return out
}
