package sample

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Open opens a dataset as configured. It decodes c.With itself (sdk.Decode) and reads no pixels unless it must.
// Errors that the user can mend are fault.Invalid or fault.NotFound with a hint.
type Open func(ctx context.Context, c clip.DatasetConfig) (*Set, error)

// New returns an unconfigured clip.Dataset that calls open when it is configured.
func New(open Open) clip.Dataset { return &dataset{open: open} }

type dataset struct {
	open Open

	mu     sync.RWMutex
	set    *reader
	tried  bool
	closed bool
}

var _ clip.Dataset = (*dataset)(nil)

// Configure implements clip.Dataset.
func (d *dataset) Configure(ctx context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var none clip.DatasetInfo
	if d.closed {
		return none, fault.New(fault.Conflict, "the dataset is closed")
	}
	if d.tried {
		return none, fault.New(fault.Conflict, "the dataset is already configured")
	}
	if err := check(c); err != nil {
		return none, err
	}
	d.tried = true
	set, err := d.open(ctx, c)
	if err != nil {
		return none, err
	}
	if err := checkCanceled(ctx); err != nil {
		return none, err
	}
	if err := set.checkShards(); err != nil {
		return none, err
	}
	if err := set.admit(ctx); err != nil {
		return none, err
	}
	if set.Len() == 0 {
		err := fault.New(fault.NotFound, "the dataset has no samples (%d records refused)", set.refused()).WithHint("check the files and the settings; runner plugin describe NAME lists them")
		told := set.Remarks
		if set.Note != "" {
			told = append([]string{set.Note}, told...)
		}
		if first := clip.SayFirst(set.Skips()); first != "" {
			told = append(told, first)
		}
		if len(told) > 0 {
			err.WithDetail(strings.Join(told, "\n"))
		}
		return none, err
	}
	for _, t := range set.Targets {
		if len(t.Classes) == 0 {
			return none, fault.New(fault.NotFound, "no sample has a class of the labelling %q", t.Name).
				WithHint("check the setting that says where the classes are, and leave it out for sets without classes")
		}
	}
	d.set = newReader(set, c)
	info := set.info(c.Augment)
	if c.Cache != nil && c.Cache.Format != "raw" && !set.Direct { // whose pictures are others
		info.Digest = hashed(info.Digest, "kept as "+c.Cache.Format)
	}
	return info, nil
}

// Batch implements clip.Dataset.
func (d *dataset) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.checkUsable(); err != nil {
		return nil, err
	}
	return d.set.batch(ctx, r)
}

// Captions implements clip.Dataset.
func (d *dataset) Captions(ctx context.Context, limit int) ([]string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.checkUsable(); err != nil {
		return nil, err
	}
	if err := checkCanceled(ctx); err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, fault.New(fault.Invalid, "limit is %d", limit)
	}
	return d.set.captions(limit), nil
}

// Close implements clip.Dataset.
func (d *dataset) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set != nil {
		d.set.disk.close()
	}
	if d.set != nil && d.set.Close != nil {
		d.set.Close()
	}
	d.closed, d.set = true, nil
	return nil
}

func (d *dataset) checkUsable() error {
	switch {
	case d.closed:
		return fault.New(fault.Conflict, "the dataset is closed")
	case d.set == nil:
		return fault.New(fault.Conflict, "the dataset is not configured")
	}
	return nil
}

func check(c clip.DatasetConfig) error {
	if c.ImageSize < 1 {
		return fault.New(fault.Invalid, "image size is %d", c.ImageSize)
	}
	if err := checkAugment(c.Augment); err != nil {
		return err
	}
	if k := c.Cache; k != nil && (k.Format != "raw" && k.Format != "jpeg" || k.MaxBytes < 1<<20) {
		return fault.New(fault.Invalid, "%d bytes of pictures as %q, want raw or jpeg and 1 MiB at least", k.MaxBytes, k.Format).WithPath("cache")
	}
	return nil
}

func checkCanceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "%w", err)
	}
	return nil
}

func outOfRange(i, n int) error {
	return fault.New(fault.Invalid, "%s", fmt.Sprintf("index %d of a dataset of %d samples", i, n))
}

// hashed returns a digest of texts.
func hashed(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		frame(h, t)
	}
	return hex.EncodeToString(h.Sum(nil))
}
