package infer

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"tandem/core/clip"
	"tandem/core/engine/onnx"
	"tandem/core/engine/weights"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/fault"
	"tandem/core/files/leftover"
)

// The files that ExportONNX writes into a folder.
const (
	ImageONNX = "image.onnx"
	TextONNX  = "text.onnx"
)

// ONNX tells what ExportONNX wrote.
type ONNX struct {
	Run        string   `json:"run"`
	Step       int      `json:"step"`
	Files      []string `json:"files"`
	LogitScale float64  `json:"logit_scale"`          // factor of cosines
	LogitBias  *float64 `json:"logit_bias,omitempty"` // added to them
	Averaged   bool     `json:"averaged,omitempty"`
}

// ExportONNX writes the towers of the newest checkpoint of the run that ref names into dir, a graph each. With averaged it
// writes the averaged weights (train.ema). An encoder without the capability onnx is fault.Invalid.
func ExportONNX(ctx context.Context, l lab.Lab, ref, dir string, averaged bool) (ONNX, error) {
	run, checkpoint, err := l.Trained(ctx, ref)
	if err != nil {
		return ONNX{}, err
	}
	s, err := l.RecordedSpec(run)
	if err != nil {
		return ONNX{}, err
	}
	for role, encoder := range map[string]string{assemble.RoleImage: s.Image.Encoder, assemble.RoleText: s.Text.Encoder} {
		d, _, err := l.Catalog.Describe(clip.KindEncoder, encoder)
		if err != nil {
			return ONNX{}, err
		}
		if !slices.Contains(d.Capabilities, clip.CapONNX) {
			return ONNX{}, fault.New(fault.Invalid, "the %s encoder %s cannot be written as ONNX", role, encoder).WithPlugin("encoders/" + encoder).
				WithHint("encoders that core/engine/tower makes can; a model of PyTorch is exported with torch.onnx")
		}
	}
	m, found, err := load(ctx, l, s, checkpoint.Dir)
	if err != nil {
		return ONNX{}, err
	}
	defer m.Close()
	if averaged {
		if err := loadAverages(ctx, m, checkpoint.Dir); err != nil {
			return ONNX{}, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ONNX{}, fault.New(fault.Unavailable, "%w", err)
	}
	out := ONNX{Run: run.ID, Step: checkpoint.Step, LogitScale: found.Scale, LogitBias: found.Bias, Averaged: averaged}
	facts := []onnx.Property{{Key: "run", Value: run.ID}, {Key: "step", Value: strconv.Itoa(checkpoint.Step)},
		{Key: "logit_scale", Value: strconv.FormatFloat(found.Scale, 'g', -1, 64)}}
	if found.Bias != nil {
		facts = append(facts, onnx.Property{Key: "logit_bias", Value: strconv.FormatFloat(*found.Bias, 'g', -1, 64)})
	}
	for _, tower := range []struct {
		file    string
		encoder clip.Encoder
	}{{ImageONNX, m.Image}, {TextONNX, m.Text}} {
		path := filepath.Join(dir, tower.file)
		if err := writeONNX(ctx, tower.encoder, path, onnx.Metadata(facts)); err != nil {
			return ONNX{}, err
		}
		out.Files = append(out.Files, path)
	}
	return out, nil
}

// writeONNX writes a tower and adds facts that it does not know, whole or not at all.
func writeONNX(ctx context.Context, e clip.Encoder, path string, facts []byte) error {
	exporter, ok := e.(clip.Exporter)
	if !ok {
		return fault.New(fault.Internal, "%T exports nothing", e)
	}
	temp, release, err := leftover.Dir("tandem-onnx-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	file := filepath.Join(temp, filepath.Base(path))
	if err := exporter.Export(ctx, clip.FormatONNX, file); err != nil {
		return err
	}
	from, err := os.Open(file)
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	defer from.Close()
	_, err = leftover.Replace(path, func(to *os.File) error {
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
		_, err := to.Write(facts)
		return err
	})
	return err
}

// loadAverages gives the towers their averaged weights.
func loadAverages(ctx context.Context, m *assemble.Model, checkpoint string) error {
	p, err := assemble.OpenCheckpoint(checkpoint, true)
	if err != nil {
		return err
	}
	defer p.Close()
	dir, release, err := leftover.Dir("tandem-onnx-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	path := filepath.Join(dir, "model.safetensors")
	if err := weights.Write(path, p.Tensors, p.Meta); err != nil {
		return err
	}
	_, err = m.LoadWeights(ctx, path)
	return err
}
