package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"tandem/core/data/alike"
	"tandem/core/data/build/ledger"
	"tandem/core/data/fetch"
	"tandem/core/data/filter"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// endings maps what a file begins with to the ending of its name in a shard.
var endings = []struct{ magic, ending string }{
	{"\x89PNG\r\n\x1a\n", "png"}, {"\xff\xd8\xff", "jpg"}, {"GIF87a", "gif"}, {"GIF89a", "gif"}, {"BM", "bmp"},
	{"II*\x00", "tiff"}, {"MM\x00*", "tiff"}, {"P4", "pbm"}, {"P5", "pgm"}, {"P6", "ppm"},
}

// ending returns that of a picture's file; "" when it is no picture of a kind that is read.
func ending(data []byte) string {
	for _, e := range endings {
		if bytes.HasPrefix(data, []byte(e.magic)) {
			return e.ending
		}
	}
	switch {
	case len(data) > 16 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "webp"
	case len(data) > 12 && (string(data[4:12]) == "ftypavif" || string(data[4:12]) == "ftypavis"):
		return "avif"
	}
	return ""
}

// bytesOf returns the file of a picture.
func (b *builder) bytesOf(ctx context.Context, p *ledger.Picture) ([]byte, error) {
	if p.Place.Kind == "blob" {
		return b.blobs.get(p.URL)
	}
	return b.sources[p.Place.Source].open(ctx, p.Place)
}

// measure looks at a picture's file.
func measure(p *ledger.Picture, data []byte) {
	refuse := func(reason string) { p.State, p.Reason = ledger.Refused, reason }
	sum := sha256.Sum256(data)
	p.Bytes, p.Digest, p.Format = int64(len(data)), hex.EncodeToString(sum[:]), ending(data)
	if len(data) == 0 {
		refuse("empty picture")
		return
	}
	pic, err := vision.Decode(data, vision.Options{})
	if err != nil {
		refuse(reasonOf(err))
		return
	}
	if p.Format == "" {
		refuse("unsupported picture") // there is no ending for it
		return
	}
	m := filter.Measure(data, pic)
	exact := alike.Exact(pic)
	p.W, p.H, p.Animated, p.Entropy, p.Commonest = m.W, m.H, m.Animated, m.Entropy, m.Commonest
	p.Exact, p.Alike = hex.EncodeToString(exact[:]), alike.Perceptual(pic)
	p.State, p.Reason = ledger.Fetched, ""
}

// reasonOf returns the reason why a picture is not decoded.
func reasonOf(err error) string {
	if reason := fault.ReasonOf(err); reason != string(fault.KindOf(err)) {
		return reason
	}
	switch fault.KindOf(err) {
	case fault.Exhausted:
		return filter.TooManyPixels
	case fault.Unavailable:
		return "unsupported picture"
	}
	return "corrupt picture"
}

// pictures measures every picture that is wanted: first those that the sources have, then those of the web.
func (b *builder) pictures(ctx context.Context) error {
	left, err := b.ledger.CountPictures(ledger.Found)
	if err != nil {
		return err
	}
	p := &tally{watch: b.watch, doing: "looking at pictures", total: int64(left)}
	if err := b.look(ctx, ledger.Found, false, b.threads, p, func(p *ledger.Picture) {
		data, err := b.bytesOf(ctx, p)
		if err != nil {
			p.State, p.Reason = ledger.Refused, fault.ReasonOf(err)
			return
		}
		measure(p, data)
	}); err != nil {
		return err
	}
	if b.config.Fetch != nil {
		if err := b.fetchAll(ctx, p); err != nil {
			return err
		}
	}
	return b.reach(ctx, stagePictures)
}

// tally counts what is done of a stage.
type tally struct {
	watch       Watcher
	doing       string
	done, total int64
}

func (t *tally) add(n int) {
	t.done += int64(n)
	t.watch.Progress(t.doing, t.done, t.total)
}

// look calls do for each picture in a state, on n goroutines, and puts what became of them into the ledger as they come.
func (b *builder) look(ctx context.Context, state string, web bool, n int, t *tally, do func(*ledger.Picture)) error {
	queue, results := make(chan *ledger.Picture), make(chan *ledger.Picture, n)
	work, stop := context.WithCancel(ctx)
	defer stop()
	fed := make(chan error, 1)
	go func() {
		defer close(queue)
		fed <- b.queue(work, state, web, queue)
	}()
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for p := range queue {
				if work.Err() == nil && b.failed.Load() == nil {
					do(p)
				}
				results <- p
			}
		})
	}
	go func() { workers.Wait(); close(results) }()
	// Whatever has come is written in one transaction: many at a time when they come fast, each at once when they come slowly.
	var failed error
	for p := range results {
		batch := []*ledger.Picture{p}
		for open := true; open && len(batch) < batchRows; {
			select {
			case more, ok := <-results:
				if open = ok; ok {
					batch = append(batch, more)
				}
			default:
				open = false
			}
		}
		if failed != nil {
			continue
		}
		if failed = b.ledger.Update(context.WithoutCancel(ctx), func(tx *ledger.Tx) error {
			for _, p := range batch {
				if p.State != state || p.Tries > 0 {
					tx.SetPicture(p)
				}
			}
			return nil
		}); failed != nil {
			stop()
		}
		t.add(len(batch))
	}
	err := <-fed
	if failed == nil && b.failed.Load() != nil {
		failed = *b.failed.Load()
	}
	if failed != nil {
		return failed
	}
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
	return err
}

// queue passes on the pictures in a state in their order.
func (b *builder) queue(ctx context.Context, state string, web bool, queue chan<- *ledger.Picture) error {
	for after := int64(0); ; {
		found, err := b.ledger.Pictures(after, state, web, chunk)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, p := range found {
			select {
			case queue <- p:
			case <-ctx.Done():
				return fault.New(fault.Canceled, "%w", ctx.Err())
			}
			after = p.ID
		}
	}
}

// fetchAll gets the pictures of the web. What fails for now is tried again, after a pause, up to Tries rounds.
func (b *builder) fetchAll(ctx context.Context, t *tally) error {
	f := b.config.Fetch
	respect := b.config.Filters.Directives.On
	client, err := fetch.New(fetch.Options{UserAgent: f.Agent, PerHost: f.PerHost, Total: f.Total, HostDelay: time.Duration(f.DelayMS) * time.Millisecond,
		MaxBytes: min(f.MaxBytes, maxPicture), Timeout: time.Duration(f.TimeoutSec) * time.Second, AllowPrivate: f.AllowPrivate, IgnoreRobots: f.IgnoreRobots,
		IgnoreNoAI: !respect})
	if err != nil {
		return err
	}
	defer client.Close()
	decode := make(chan struct{}, b.threads)
	get := func(p *ledger.Picture) {
		if !b.blobs.has(p.URL) {
			r, err := client.Fetch(ctx, p.URL, "image/*", "application/octet-stream")
			switch {
			case ctx.Err() != nil:
				return // nothing is known of it
			case err != nil && fetch.Temporary(err) && p.Tries+1 < f.Tries:
				p.State, p.Reason, p.Tries = ledger.Later, fault.ReasonOf(err), p.Tries+1
				return
			case err != nil:
				p.State, p.Reason, p.Tries = ledger.Refused, fault.ReasonOf(err), p.Tries+1
				return
			case r.Status != http.StatusOK:
				p.State, p.Reason = ledger.Refused, fmt.Sprintf("status %d", r.Status)
				return
			}
			if err := b.blobs.put(p.URL, r.Body); err != nil {
				b.fail(err)
				return
			}
		}
		decode <- struct{}{}
		defer func() { <-decode }()
		data, err := b.blobs.get(p.URL)
		if err != nil {
			b.fail(err)
			return
		}
		p.Place.Kind = "blob"
		measure(p, data)
	}
	pause := time.Duration(f.RoundSec) * time.Second
	for state := ledger.Found; ; state = ledger.Later {
		if err := b.look(ctx, state, true, f.Total, t, get); err != nil {
			return err
		}
		left, err := b.ledger.CountPictures(ledger.Later)
		if err != nil || left == 0 {
			return err
		}
		b.watch.Say(fmt.Sprintf("%d pictures could not be had for now; trying again in %s", left, pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fault.New(fault.Canceled, "%w", ctx.Err())
		}
		pause *= 2
		t.total += int64(left)
	}
}

// fail keeps the first error of the machine, which ends the build.
func (b *builder) fail(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		b.failed.CompareAndSwap(nil, &err)
	}
}
