package tower

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/fault"
	"tandem/core/media/token"
)

// A checkpoint is a safetensors file with
//
//   - every parameter and running statistic under its published name,
//   - the optimiser's state as optim.<slot>.<parameter>: optim.m.visual.proj, of trained parameters,
//   - a tokenizer, as the bytes of its JSON under the name "tokenizer",
//   - metadata: format, modality, embed_dim and config, the JSON of the network's config, which must
//     agree; and seed, that of the random streams, which is taken over.
const (
	checkpointFormat = "tandem encoder 1"
	tokenizerName    = "tokenizer"
)

// array is a named part of device memory.
type array struct {
	name   string
	shape  []int
	buffer device.Buffer
}

// arrays are what a checkpoint holds of device memory.
func (e *encoder) arrays() []array {
	list := e.values()
	for _, s := range e.slots() {
		list = append(list, e.views("optim."+s.Name+".", e.params.trained, s.Buffer)...)
	}
	return list
}

// values are the parameters and the running statistics.
func (e *encoder) values() []array {
	p := e.params
	return append(e.views("", p.store.Layout, p.store.Values), e.views("", p.states.Layout, p.states.Values)...)
}

// views are the arrays of a layout in a flat buffer.
func (e *encoder) views(prefix string, l graph.Layout, flat device.Buffer) (list []array) {
	for _, entry := range l.Entries {
		list = append(list, array{prefix + entry.Name, entry.Shape, e.backend.View(flat, entry.Off, entry.N)})
	}
	return list
}

// metadata is what a checkpoint must agree with.
func (e *encoder) metadata() (map[string]string, error) {
	config, err := json.Marshal(e.front.Config())
	if err != nil {
		return nil, fault.New(fault.Internal, "config: %w", err)
	}
	return map[string]string{
		"format": checkpointFormat, "modality": string(e.modality),
		"embed_dim": fmt.Sprint(e.dim), "config": string(config), "seed": fmt.Sprint(e.call.Seed),
	}, nil
}

// Save implements clip.Encoder.
func (e *encoder) Save(ctx context.Context, path string) error {
	if err := e.ready(ctx, "save"); err != nil {
		return err
	}
	meta, err := e.metadata()
	if err != nil {
		return err
	}
	var tensors []weights.Tensor
	var host []float32
	for _, a := range e.arrays() {
		tensors = append(tensors, weights.Tensor{
			Name: a.name, DType: weights.F32, Shape: a.shape,
			Load: func() ([]byte, error) {
				if err := alive(ctx, "save"); err != nil {
					return nil, err
				}
				host = grow(host, a.buffer.Len())
				if err := device.Read(e.backend, host, a.buffer); err != nil {
					return nil, err
				}
				return weights.Bytes(host), nil
			},
		})
	}
	if t, ok := e.front.(*textFront); ok && t.tokenizer != nil {
		data, err := t.tokenizer.Save()
		if err != nil {
			return err
		}
		tensors = append(tensors, weights.FromU8(tokenizerName, data, len(data)))
	}
	return weights.Write(path, tensors, meta)
}

// Load implements clip.Encoder: what Save wrote, or published weights. Everything is checked before
// anything is changed.
func (e *encoder) Load(ctx context.Context, path string) error {
	if err := e.ready(ctx, "load"); err != nil {
		return err
	}
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	meta := f.Metadata()
	if !keymap.Own(meta["format"]) {
		return e.loadPublished(ctx, path)
	}
	if err := e.checkMetadata(meta); err != nil {
		return err.WithFile(path, 0, 0)
	}
	seed, err := strconv.ParseUint(meta["seed"], 10, 64)
	if err != nil {
		return fault.New(fault.Corrupt, "seed in the metadata: %w", err).WithOp("load").WithFile(path, 0, 0)
	}
	arrays := e.arrays()
	if err := e.checkTensors(f, arrays); err != nil {
		return err.WithFile(path, 0, 0)
	}
	if err := e.loadTokenizer(f); err != nil {
		return err
	}
	for _, a := range arrays {
		values, err := f.F32(a.name, a.shape...)
		if err != nil {
			return err
		}
		e.backend.Write(a.buffer, values)
	}
	for t := range e.tickets {
		e.release(t) // their activations belong to other weights
	}
	e.touched = false
	e.call.Seed = seed
	e.backend.ParamsChanged()
	return device.Err(e.backend)
}

// checkMetadata finds what differs between a checkpoint's description and the encoder's.
func (e *encoder) checkMetadata(got map[string]string) *fault.Error {
	want, err := e.metadata()
	if err != nil {
		return fault.New(fault.Internal, "%w", err)
	}
	for _, key := range []string{"format", "modality", "embed_dim"} {
		if got[key] != want[key] {
			return fault.New(fault.Invalid, "%s is %q, want %q", key, got[key], want[key]).WithOp("load")
		}
	}
	return sameConfig(got["config"], want["config"])
}

// sameConfig finds what differs between the JSON of two configs, except in some keys.
func sameConfig(got, want string, except ...string) *fault.Error {
	var a, b map[string]json.RawMessage
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		return fault.New(fault.Corrupt, "config in the metadata: %w", err).WithOp("load")
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		return fault.New(fault.Internal, "config: %w", err).WithOp("load")
	}
	keys := slices.Sorted(maps.Keys(b))
	for _, key := range append(keys, slices.Sorted(maps.Keys(a))...) {
		if !bytes.Equal(a[key], b[key]) && !slices.Contains(except, key) {
			return fault.New(fault.Invalid, "the file is of a network with %s %s, this one has %s", key, orNone(a[key]), orNone(b[key])).
				WithOp("load").WithPath("with." + key)
		}
	}
	return nil
}

func orNone(raw json.RawMessage) string {
	if raw == nil {
		return "none"
	}
	return string(raw)
}

// checkTensors holds names, shapes and dtypes of a file against what is to be loaded.
func (e *encoder) checkTensors(f *weights.File, arrays []array) *fault.Error {
	known := map[string]bool{}
	if e.modality == clip.Text {
		known[tokenizerName] = true
	}
	for _, a := range arrays {
		known[a.name] = true
		info, ok := f.Info(a.name)
		switch {
		case !ok:
			return fault.New(fault.Invalid, "tensor %q is missing", a.name).WithOp("load")
		case !slices.Equal(info.Shape, a.shape) || info.DType != weights.F32:
			return fault.New(fault.Invalid, "tensor %q is %s %v, want F32 %v", a.name, info.DType, info.Shape, a.shape).WithOp("load")
		}
	}
	for _, name := range f.Names() {
		if !known[name] {
			return fault.New(fault.Invalid, "tensor %q is none of this encoder's", name).WithOp("load")
		}
	}
	return nil
}

// loadTokenizer takes the file's tokenizer, for texts.
func (e *encoder) loadTokenizer(f *weights.File) error {
	t, ok := e.front.(*textFront)
	if !ok {
		return nil
	}
	data, err := f.U8(tokenizerName)
	if err != nil {
		return err
	}
	tokenizer, err := token.Load(data)
	if err != nil {
		return err
	}
	return t.adopt(tokenizer)
}
