package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"

	"tandem/core/data/build/ledger"
	"tandem/core/data/shard"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// about is what a sample's JSON member says.
type about struct {
	Key      string        `json:"key"`
	Caption  string        `json:"caption"`
	Kind     string        `json:"caption_kind"`
	Captions []string      `json:"captions,omitempty"` // all, the chosen one first
	More     []ledger.Text `json:"more_captions,omitempty"`
	Page     string        `json:"page"`
	URL      string        `json:"url"`
	Source   string        `json:"source"`
	Width    int           `json:"width"`
	Height   int           `json:"height"`
	// OriginalWidth and OriginalHeight are there when the picture was scaled.
	OriginalWidth  int      `json:"original_width,omitempty"`
	OriginalHeight int      `json:"original_height,omitempty"`
	SHA256         string   `json:"sha256"` // of the file as it was found
	PixelsSHA256   string   `json:"pixels_sha256"`
	PHash          string   `json:"phash"`
	Similarity     *float64 `json:"similarity,omitempty"`
}

func shardName(n int) string { return fmt.Sprintf("shard-%06d.tar", n) }

// write writes the shards that are not there.
func (b *builder) write(ctx context.Context) error {
	known, err := b.ledger.Shards()
	if err != nil {
		return err
	}
	total, err := b.keptCount()
	if err != nil {
		return err
	}
	size, n := b.config.Shards.Samples, 0
	order, err := b.order(ctx)
	if err != nil {
		return err
	}
	for ids := range slices.Chunk(order, size) {
		pairs, err := b.ledger.PairsOf(ids)
		if err != nil {
			return err
		}
		path := filepath.Join(b.config.Out, shardName(n))
		if info, err := os.Stat(path); err == nil && n < len(known) && info.Size() == known[n].Bytes && known[n].Samples == len(pairs) {
			n++
			continue
		}
		if err := b.writeShard(ctx, n, path, pairs, n*size, total); err != nil {
			return err
		}
		n++
	}
	return nil
}

// order returns the numbers of the candidates that stay, in the order in which they are written.
func (b *builder) order(ctx context.Context) (ids []int64, err error) {
	places := map[int64][32]byte{}
	seed := b.config.Shards.Shuffle
	for p, err := range b.ledger.Pairs(ctx, ledger.Kept, ledger.Written) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, p.ID)
		if seed != 0 { // a pair has the same place among others, whichever they are
			places[p.ID] = sha256.Sum256(fmt.Appendf(nil, "%d %s %s", seed, p.Image.Exact, p.Caption))
		}
	}
	if seed != 0 {
		slices.SortStableFunc(ids, func(x, y int64) int {
			a, b := places[x], places[y]
			return bytes.Compare(a[:], b[:])
		})
	}
	return ids, nil
}

// sample is what is written of one pair.
type sample struct {
	key     string
	members []shard.Member
	err     error
}

func (b *builder) writeShard(ctx context.Context, n int, path string, pairs []ledger.Pair, first, total int) error {
	ids, keys := make([]int64, len(pairs)), make([]string, len(pairs))
	sum, err := shard.Write(path, func(add func(string, ...shard.Member) error) error {
		done := 0
		return inOrder(ctx, b.threads, func(ctx context.Context, emit func(func() sample) error) error {
			for i, p := range pairs {
				key := fmt.Sprintf("%09d", first+i)
				ids[i], keys[i] = p.ID, key
				if err := emit(func() sample { return b.sample(ctx, key, p) }); err != nil {
					return err
				}
			}
			return nil
		}, func(s sample) error {
			if s.err != nil {
				return s.err
			}
			done++
			b.watch.Progress("writing shards", int64(first+done), int64(total))
			return add(s.key, s.members...)
		})
	})
	if err != nil {
		return err
	}
	return b.ledger.Update(ctx, func(tx *ledger.Tx) error {
		tx.AddShard(ledger.Shard{ID: n, Name: shardName(n), Samples: sum.Samples, Bytes: sum.Bytes, SHA256: sum.SHA256}, ids, keys)
		return nil
	})
}

// sample makes the members of a sample.
func (b *builder) sample(ctx context.Context, key string, p ledger.Pair) sample {
	fail := func(err error) sample { return sample{err: fmt.Errorf("%s: %w", p.Image.URL, err)} }
	data, err := b.bytesOf(ctx, p.Image)
	if err != nil {
		return fail(err)
	}
	a := about{Key: key, Caption: p.Caption, Kind: p.Kind, Page: p.Page, URL: p.Image.URL, Source: b.sources[p.Source].name(), Width: p.Image.W, Height: p.Image.H,
		SHA256: p.Image.Digest, PixelsSHA256: p.Image.Exact, PHash: fmt.Sprintf("%016x", p.Image.Alike), Similarity: p.Score}
	if b.config.Shards.Captions == "all" {
		a.Captions = []string{p.Caption}
		for _, t := range p.Captions {
			a.Captions = append(a.Captions, t.Text)
		}
		a.More = p.Captions
	}
	format := p.Image.Format
	if b.config.Shards.Side > 0 {
		if data, err = b.scaled(data, &a); err != nil {
			return fail(err)
		}
		format = "jpg"
	}
	text, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return fail(err)
	}
	return sample{key: key, members: []shard.Member{{Ending: format, Data: data}, {Ending: "txt", Data: []byte(p.Caption)}, {Ending: "json", Data: text}}}
}

// scaled returns a JPEG of a picture whose shorter side is at most that of the configuration.
func (b *builder) scaled(data []byte, a *about) ([]byte, error) {
	p, err := vision.Decode(data, vision.Options{})
	if err != nil {
		return nil, err
	}
	if short, side := min(p.W, p.H), b.config.Shards.Side; short > side {
		w, h := max(1, (p.W*side+short/2)/short), max(1, (p.H*side+short/2)/short)
		small := vision.NewPicture(w, h)
		new(vision.Resizer).Resize(small.Pix, p, w, h)
		a.OriginalWidth, a.OriginalHeight = p.W, p.H
		a.Width, a.Height, p = w, h, small
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, p.Image(), &jpeg.Options{Quality: b.config.Shards.Quality}); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return out.Bytes(), nil
}
