package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// checkLossResult checks the answer to a Compute, except for its tensors.
func (c *Conn) checkLossResult(r *pb.LossResponse, q clip.LossRequest) error {
	k := c.checker("Compute")
	k.finite("a loss of", r.Value)
	for _, m := range []struct {
		what   string
		values map[string]float64
	}{{"part", r.Parts}, {"scalar", r.Scalars}} {
		k.require(len(m.values) <= maxNames, "there are %d %ss, want at most %d", len(m.values), m.what, maxNames)
		for name, v := range m.values {
			k.name("the name of a "+m.what, name)
			k.finite(fmt.Sprintf("the %s %s, which is", m.what, quote(name)), v)
		}
	}
	k.require(len(r.PerSample) <= maxNames, "there are %d parts per sample, want at most %d", len(r.PerSample), maxNames)
	for name, values := range r.PerSample {
		k.name("the name of a part", name)
		n := q.Image.Shape[0]
		if q.Rows > 0 {
			n = q.Rows
		}
		k.require(len(values.GetValues()) == n, "per_sample %s has %d values for %d samples", quote(name), len(values.GetValues()), n)
	}
	return k.err
}

// checkBatch checks the answer to a Batch, except for its pictures.
func (c *Conn) checkBatch(r *pb.BatchResponse, q clip.BatchRequest, info clip.DatasetInfo) error {
	k, n := c.checker("Batch"), len(q.Indices)
	length := func(what string, got int) { k.require(got == n, "%d %s for %d samples", got, what, n) }
	length("captions", len(r.Captions))
	length("keys", len(r.Keys))
	if len(r.Groups) > 0 || !q.NoImages {
		length("groups", len(r.Groups))
	}
	if !q.Train {
		length("lists of all captions", len(r.All))
	}
	if q.Negatives {
		length("lists of negatives", len(r.Negatives))
	}
	if len(r.Widths) > 0 || len(r.Heights) > 0 {
		k.require(q.Sizes, "there are sizes of pictures, which nobody asked for")
		length("widths", len(r.Widths))
		length("heights", len(r.Heights))
	}
	for i := range min(len(r.Widths), len(r.Heights)) {
		k.require(r.Widths[i] >= 0 && r.Heights[i] >= 0, "sample %d has %d × %d pixels", at(q.Indices, i), r.Widths[i], r.Heights[i])
	}
	for i, texts := range r.Negatives {
		k.require(q.Negatives, "there are negatives, which nobody asked for")
		k.require(len(texts.GetValues()) == info.Negatives, "sample %d has %d negatives, and Configure said that there are %d", at(q.Indices, i), len(texts.GetValues()), info.Negatives)
		for _, s := range texts.GetValues() {
			k.text(fmt.Sprintf("a negative of sample %d", at(q.Indices, i)), s, maxCaption)
		}
	}
	for i, s := range r.Captions {
		k.text(fmt.Sprintf("the caption of sample %d", at(q.Indices, i)), s, maxCaption)
	}
	for i, all := range r.All {
		for _, s := range all.GetValues() {
			k.text(fmt.Sprintf("a caption of sample %d", at(q.Indices, i)), s, maxCaption)
		}
	}
	for _, s := range r.Keys {
		k.require(s != "", "a key is empty")
		k.text("a key", s, maxText)
	}
	k.faults(r, q, info)
	k.labels(r, q, info)
	if k.err == nil {
		k.keys(r, q)
	}
	return k.err
}

func at(list []int, i int) int {
	if i < len(list) {
		return list[i]
	}
	return -1
}

func (k *checker) faults(r *pb.BatchResponse, q clip.BatchRequest, info clip.DatasetInfo) {
	for _, f := range r.Faults {
		k.count("the index of an unreadable sample", f.Index, 0, int64(max(0, info.Len-1)))
		k.text("the key of an unreadable sample", f.Key, maxText)
		k.text("the message of an unreadable sample", f.Msg, maxText)
	}
}

// labels checks the labels of all targets. In training nobody asks for them, and they may be absent.
func (k *checker) labels(r *pb.BatchResponse, q clip.BatchRequest, info clip.DatasetInfo) {
	known := 0
	for _, t := range info.Targets {
		ids, ok := r.Labels[t.Name]
		if !ok {
			k.require(q.Train || q.NoImages, "there are no labels of target %q", t.Name)
			continue
		}
		known++
		k.require(len(ids.GetValues()) == len(q.Indices), "%d labels of target %q for %d samples", len(ids.GetValues()), t.Name, len(q.Indices))
		for i, id := range ids.GetValues() {
			if id < -1 || int(id) >= len(t.Classes) {
				k.brokenRule("sample %d has the label %d of target %q, want -1 to %d", at(q.Indices, i), id, t.Name, len(t.Classes)-1)
			}
		}
	}
	k.require(known == len(r.Labels), "there are labels of %d targets, of which the dataset has %d", len(r.Labels), known)
}

// tokens checks a token output: lengths from 1 to T, finite numbers, and zeros beyond the lengths.
func (k *checker) tokens(t, lengths *tensor.Tensor) {
	k.values("token output", t)
	count, dim := t.Shape[1], t.Shape[2]
	for i, n := range lengths.I32() {
		k.require(n >= 1 && int(n) <= count, "sample %d has %d tokens, want 1 to %d", i, n, count)
		if k.err != nil {
			return
		}
		for _, v := range t.F32()[(i*count+int(n))*dim : (i+1)*count*dim] {
			if v != 0 {
				k.brokenRule("the token output of sample %d is not 0 beyond its %d tokens", i, n)
				return
			}
		}
	}
}

// keys checks that keys tell samples apart. A sample that could not be read may have another key, and a sample
// that was asked for twice has the same key twice.
func (k *checker) keys(r *pb.BatchResponse, q clip.BatchRequest) {
	if len(r.Faults) > 0 {
		return
	}
	first := map[string]int{}
	for i, key := range r.Keys {
		if other, seen := first[key]; seen && other != q.Indices[i] {
			k.brokenRule("samples %d and %d have one key, %s", other, q.Indices[i], quote(key))
			return
		}
		first[key] = q.Indices[i]
	}
}

// reading names a way in which samples are read.
type reading struct{ train bool }

// readAgain asks for a sample of a batch once more, after the 1st, 2nd, 4th, 8th, … batch. What a dataset gives
// must be a function of epoch and index; one that draws anew at every call makes numbers that nobody can
// repeat.
func (d *datasetClient) readAgain(ctx context.Context, q clip.BatchRequest, b *clip.Batch) error {
	if len(q.Indices) == 0 || q.NoImages || b.Images == nil {
		return nil
	}
	d.mu.Lock()
	if d.reads == nil {
		d.reads = map[reading]int{}
	}
	d.reads[reading{q.Train}]++
	n := d.reads[reading{q.Train}]
	d.mu.Unlock()
	if n&(n-1) != 0 || len(b.Faults) > 0 {
		return nil
	}
	i := (n * 7) % len(q.Indices)
	index := q.Indices[i]
	again, err := d.batch(ctx, clip.BatchRequest{Indices: []int{index}, Epoch: q.Epoch, Train: q.Train, Negatives: q.Negatives, View2: q.View2})
	if err != nil {
		return err
	}
	defer again.Images.Free()
	defer again.Images2.Free()
	if len(again.Faults) > 0 {
		return nil // it can no longer be read: the dataset says so itself
	}
	each := len(b.Images.Data) / len(q.Indices)
	k := d.conn.checker("Batch")
	differs := func(what string) {
		k.brokenRule("sample %d of epoch %d, read twice, has another %s each time", index, q.Epoch, what)
	}
	switch {
	case again.Keys[0] != b.Keys[i]:
		differs(fmt.Sprintf("key (%s, %s)", quote(b.Keys[i]), quote(again.Keys[0])))
	case again.Captions[0] != b.Captions[i]:
		differs(fmt.Sprintf("caption (%s, %s)", quote(b.Captions[i]), quote(again.Captions[0])))
	case len(b.All) > i && !slices.Equal(again.All[0], b.All[i]):
		differs("list of captions")
	case again.Groups[0] != b.Groups[i]:
		differs("group")
	case !bytes.Equal(again.Images.Data, b.Images.Data[i*each:(i+1)*each]):
		differs("picture")
	case q.View2 && !bytes.Equal(again.Images2.Data, b.Images2.Data[i*each:(i+1)*each]):
		differs("second picture")
	case q.Negatives && !slices.Equal(again.Negatives[0], b.Negatives[i]):
		differs("list of negatives")
	}
	for name, ids := range b.Labels {
		if other, ok := again.Labels[name]; ok && other[0] != ids[i] {
			differs(fmt.Sprintf("label of %q", name))
		}
	}
	return k.err
}

// checkSaved checks what a Save wrote: a safetensors file with at least the parameters that the plugin says it has.
func (c *Conn) checkSaved(path string, parameters int64) error {
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c.brokenRule("Save", "it said that it was done and wrote no %s", path)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err).WithPlugin(c.name)
	}
	if !stat.Mode().IsRegular() {
		return c.brokenRule("Save", "%s is no file", path)
	}
	f, err := weights.Open(path)
	if kind := fault.KindOf(err); kind == fault.Corrupt || kind == fault.Invalid {
		return c.brokenRule("Save", "it wrote no safetensors file: %v", err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	held := int64(0)
	for _, name := range f.Names() {
		if info, ok := f.Info(name); ok && info.DType.Size() > 0 {
			held += int64(info.Bytes() / info.DType.Size())
		}
	}
	if held < parameters {
		return c.brokenRule("Save", "the file holds %d numbers, and Configure said that there are %d parameters", held, parameters)
	}
	return nil
}
