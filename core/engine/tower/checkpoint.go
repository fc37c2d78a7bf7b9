package tower

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/checkpoint"
	"tandem/core/engine/device"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/media/token"
)

// A tower's checkpoint (core/engine/checkpoint) has the tokenizer of texts beside the parameters, and in its
// metadata modality, embed_dim and config, the JSON of the network's config, which must agree; and seed, that of
// the random streams, which Load takes over. With adapters it has lora too (weights.LoRA), which must agree.

// arrays lists what a checkpoint holds of device memory, but for the average.
func (e *encoder) arrays() []checkpoint.Array {
	return append(e.values(), checkpoint.SlotArrays(e.session.Backend, e.params.trained, e.trained.States())...)
}

// averages lists the average of the parameters, where one is kept.
func (e *encoder) averages() []checkpoint.Array {
	if e.params.average == nil {
		return nil
	}
	return checkpoint.AverageArrays(e.session.Backend, e.params.trained, e.params.average.Values())
}

// values lists the parameters and the running statistics.
func (e *encoder) values() []checkpoint.Array {
	b, p := e.session.Backend, e.params
	return append(checkpoint.Arrays(b, p.store.Layout, p.store.Values), checkpoint.Arrays(b, p.states.Layout, p.states.Values)...)
}

// metadata describes the network, for a checkpoint that must agree with it.
func (e *encoder) metadata() (map[string]string, error) {
	config, err := json.Marshal(e.front.Config())
	if err != nil {
		return nil, fault.New(fault.Internal, "config: %w", err)
	}
	meta := map[string]string{
		"format": weights.EncoderFormat, "modality": string(e.modality),
		"embed_dim": fmt.Sprint(e.dim), "config": string(config), "seed": fmt.Sprint(e.call.Seed),
	}
	if e.lora != nil {
		text, err := json.Marshal(e.lora)
		if err != nil {
			return nil, fault.New(fault.Internal, "lora: %w", err)
		}
		meta[weights.MetaLoRA] = string(text)
	}
	return meta, nil
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
	var others []weights.Tensor
	if t, ok := e.front.(*textFront); ok && t.tokenizer != nil {
		data, err := t.tokenizer.Save()
		if err != nil {
			return err
		}
		others = append(others, weights.FromU8(weights.TokenizerTensor, data, len(data)))
	}
	arrays := e.arrays()
	if average := e.params.average; average != nil && average.Begun() {
		arrays = append(arrays, e.averages()...)
	}
	return checkpoint.Write(ctx, path, e.session.Backend, arrays, others, meta)
}

// Load implements clip.Encoder: it reads what Save wrote, or published weights. It checks everything before it
// changes anything.
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
	if !weights.IsCheckpoint(meta["format"]) {
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
	var averages []checkpoint.Array
	if checkpoint.HasAverage(f) {
		averages = e.averages()
	}
	if err := e.checkTensors(f, slices.Concat(arrays, averages)); err != nil {
		return err.WithFile(path, 0, 0)
	}
	if err := e.loadTokenizer(f); err != nil {
		return err
	}
	if err := checkpoint.Restore(e.session.Backend, f, arrays); err != nil {
		return err
	}
	if err := e.restoreAverage(f, averages); err != nil {
		return err
	}
	e.call.Seed = seed
	return e.dropStale()
}

// restoreAverage takes the average of a file; without one it begins anew at the values that were just loaded.
func (e *encoder) restoreAverage(f *weights.File, averages []checkpoint.Array) error {
	average := e.params.average
	if average == nil {
		return nil
	}
	average.Restart()
	if averages == nil {
		return nil
	}
	if err := checkpoint.Restore(e.session.Backend, f, averages); err != nil {
		return err
	}
	average.Resume()
	return nil
}

// dropStale drops what belongs to the parameters that were there before: activations that wait for their
// gradient, gradients, packed copies.
func (e *encoder) dropStale() error {
	for t := range e.tickets {
		e.release(t)
	}
	e.trained.Forget()
	e.buckets.stepped()
	e.session.Backend.ParamsChanged()
	return device.Err(e.session.Backend)
}

// checkMetadata finds what differs between a checkpoint's description and the encoder's.
func (e *encoder) checkMetadata(got map[string]string) *fault.Error {
	want, err := e.metadata()
	if err != nil {
		return fault.New(fault.Internal, "%w", err)
	}
	if err := checkpoint.CheckMetadata(got, want, "format", "modality", "embed_dim", weights.MetaLoRA); err != nil {
		return err
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

// checkTensors demands of a file every array of the encoder, for texts maybe a tokenizer, and nothing else.
func (e *encoder) checkTensors(f *weights.File, arrays []checkpoint.Array) *fault.Error {
	if err := checkpoint.CheckArrays(f, arrays); err != nil {
		return err
	}
	var others []string
	if e.modality == clip.Text {
		others = []string{weights.TokenizerTensor}
	}
	if name := checkpoint.Unknown(f, arrays, others...); name != "" {
		err := fault.New(fault.Invalid, "tensor %q is none of this encoder's", name).WithOp("load")
		if strings.HasPrefix(name, weights.AveragePrefix) {
			err.WithHint("the checkpoint was written with train.ema, and this encoder keeps no average")
		}
		return err
	}
	return nil
}

// loadTokenizer takes the tokenizer of a checkpoint, for texts.
func (e *encoder) loadTokenizer(f *weights.File) error {
	t, ok := e.front.(*textFront)
	if !ok {
		return nil
	}
	data, err := f.U8(weights.TokenizerTensor)
	if err != nil {
		return err
	}
	tokenizer, err := token.Load(data)
	if err != nil {
		return err
	}
	return t.adopt(tokenizer)
}
