package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"tandem/core/data/build/ledger"
	"tandem/core/files/leftover"
)

// Manifest describes a set that was built, in manifest.json beside its shards.
type Manifest struct {
	Format string `json:"format"`
	// Digest is that of the shards: their names, counts and checksums. Sets with the same digest are the same.
	Digest  string         `json:"digest"`
	Samples int            `json:"samples"`
	Shards  []ledger.Shard `json:"shards"`
	// Config is the digest of the configuration, and Sources are what it was built from.
	Config  string   `json:"config"`
	Sources []string `json:"sources"`
	Summary *Summary `json:"summary"`
}

const format = "tandem shards 1"

// Summary tells what a build gave.
type Summary struct {
	Folder     string           `json:"-"`
	Pages      int              `json:"pages"`
	Candidates int              `json:"candidates"`
	Kept       int              `json:"kept"`
	Shards     int              `json:"shards"`
	Bytes      int64            `json:"bytes"`
	Digest     string           `json:"digest"`
	Kinds      []ledger.Count   `json:"caption_kinds"`
	Refused    []ledger.Count   `json:"refused"` // by the filter, in the order in which they judge, and the reason
	Skipped    []ledger.Skipped `json:"skipped"`
	UpToDate   bool             `json:"-"` // there was nothing to do
}

// order lists what refuses candidates, in the order in which it does.
func order() []string {
	names := FilterNames()
	at := slices.Index(names, "size")
	names = slices.Insert(names, at, "source", "fetch", "picture")
	return slices.Insert(names, 1, "captions")
}

func (b *builder) summary() (*Summary, error) {
	s := &Summary{Folder: b.config.Out, Refused: []ledger.Count{}}
	shards, err := b.ledger.Shards()
	if err != nil {
		return nil, err
	}
	s.Digest, s.Shards = digestShards(shards), len(shards)
	for _, x := range shards {
		s.Bytes += x.Bytes
	}
	if s.Pages, err = b.ledger.CountPages(); err != nil {
		return nil, err
	}
	if s.Candidates, err = b.ledger.CountCandidates(); err != nil {
		return nil, err
	}
	if s.Kept, err = b.keptCount(); err != nil {
		return nil, err
	}
	if _, s.Refused, err = b.ledger.Counts(); err != nil {
		return nil, err
	}
	by := order()
	slices.SortStableFunc(s.Refused, func(x, y ledger.Count) int { return slices.Index(by, x.Filter) - slices.Index(by, y.Filter) })
	if s.Kinds, err = b.ledger.Kinds(); err != nil {
		return nil, err
	}
	s.Skipped, err = b.ledger.Skips()
	return s, err
}

func digestShards(all []ledger.Shard) string {
	h := sha256.New()
	for _, s := range all {
		data, err := json.Marshal([]any{s.Name, s.Samples, s.SHA256})
		if err != nil {
			panic("build: " + err.Error()) // texts and numbers encode
		}
		h.Write(append(data, '\n'))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// manifest writes manifest.json.
func (b *builder) manifest() error {
	s, err := b.summary()
	if err != nil {
		return err
	}
	shards, err := b.ledger.Shards()
	if err != nil {
		return err
	}
	collect, judge := b.config.parts()
	m := Manifest{Format: format, Digest: s.Digest, Samples: s.Kept, Shards: shards, Config: digestOf(collect, judge), Summary: s}
	if m.Shards == nil {
		m.Shards = []ledger.Shard{}
	}
	for _, x := range b.sources {
		m.Sources = append(m.Sources, x.name())
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	_, err = leftover.Replace(filepath.Join(b.config.Out, "manifest.json"), func(f *os.File) error {
		_, err := f.Write(append(data, '\n'))
		return err
	})
	return err
}
