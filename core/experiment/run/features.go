package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/feature"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
)

// A featureKey names all that the features of a frozen tower depend on beside the sample. Its JSON identifies the
// set of features.
type featureKey struct {
	Encoder   string          `json:"encoder"`
	SHA256    string          `json:"encoder_sha256"`
	With      json.RawMessage `json:"with"`
	EmbedDim  int             `json:"embed_dim"`
	Weights   string          `json:"weights_sha256"`
	Precision string          `json:"precision"`
	Backend   string          `json:"backend"`
	Threads   int             `json:"threads"`
	Processor string          `json:"processor"`
	Pictures  *pictureKey     `json:"pictures,omitempty"` // of the image tower
	Sources   []pictureKey    `json:"sources,omitempty"`  // instead, of a mixture
}

// A pictureKey names what an image tower sees.
type pictureKey struct {
	Dataset string          `json:"dataset"`
	SHA256  string          `json:"dataset_sha256"`
	With    json.RawMessage `json:"with"`
	Digest  string          `json:"digest"`
	Size    int             `json:"image_size"`
	Packed  bool            `json:"packed,omitempty"` // kept as JPEG (data.cache), which loses a little
}

// remember opens the kept features of frozen towers for a trainer. It comes after weights are loaded, because the
// features depend on them. Why features cannot be kept is told and is no error. close writes what is new.
func remember(ctx context.Context, m *assemble.Model, t *train.Trainer, w assemble.Watcher, event func(level, message string) error) (close func(), err error) {
	tell := func(level, message string) {
		if e := event(level, message); e != nil && err == nil {
			err = e
		}
	}
	var kept [2]train.Features
	var stores []*feature.Store
	close = func() {
		for _, s := range stores {
			s.Close()
		}
	}
	for i, role := range []string{assemble.RoleImage, assemble.RoleText} {
		if !m.Frozen[i] || m.Spec.Train.FeatureCache == "off" {
			continue
		}
		why := t.WhyComputed(i)
		if why == "" {
			why = whyFeaturesChange(m, role)
		}
		if why != "" {
			tell("warning", fmt.Sprintf("the features of the frozen %s tower are computed anew in every epoch: %s", role, why))
			continue
		}
		w.Doing("opening the features of the " + role + " tower")
		s, openErr := openFeatures(ctx, m, role, func(message string) { tell("warning", message) })
		w.Doing("")
		if fault.KindOf(openErr) == fault.Canceled {
			close()
			return func() {}, openErr
		}
		if openErr != nil {
			tell("warning", fmt.Sprintf("the features of the frozen %s tower are not kept: %v", role, openErr))
			continue
		}
		tell("info", fmt.Sprintf("features of the frozen %s tower: %d known, in %s", role, s.Len(), s.Dir()))
		kept[i], stores = s, append(stores, s)
	}
	t.Remember(kept[0], kept[1])
	return close, err
}

// whyFeaturesChange says why a frozen tower's features differ from epoch to epoch; "" when they do not.
func whyFeaturesChange(m *assemble.Model, role string) string {
	info := m.Summary.Image
	if role == assemble.RoleText {
		info = m.Summary.Text
	}
	switch {
	case !info.Fixed:
		return fmt.Sprintf("it draws at random in training (set its patch_dropout to 0), or encoders/%s does not say that it does not", m.Processes[role].Binary.Name)
	case role == assemble.RoleText:
		return ""
	}
	for i, src := range m.Summary.Sources {
		switch {
		case src.Info.Fixed:
		case m.Spec.Data.Train[i].Augment != nil:
			return fmt.Sprintf("the pictures are augmented (%s.augment: none)", m.Spec.TrainSection(i))
		default:
			return fmt.Sprintf("datasets/%s changes its pictures (a jitter in its settings?), or does not say that it does not", m.Processes[src.Role].Binary.Name)
		}
	}
	return ""
}

// openFeatures opens the kept features of a frozen tower.
func openFeatures(ctx context.Context, m *assemble.Model, role string, warn func(string)) (*feature.Store, error) {
	tower, info, encoder := m.Spec.Image, m.Summary.Image, m.Image
	if role == assemble.RoleText {
		tower, info, encoder = m.Spec.Text, m.Summary.Text, m.Text
	}
	root, err := feature.Root()
	if err != nil {
		return nil, err
	}
	digest, err := parametersDigest(ctx, encoder)
	if err != nil {
		return nil, err
	}
	binary := m.Processes[role].Binary
	key := featureKey{Encoder: binary.Ref(), SHA256: binary.SHA256, With: tower.With, EmbedDim: info.EmbedDim, Weights: digest,
		Precision: m.Spec.Train.Precision, Backend: info.Backend, Threads: m.Starter.Threads(role), Processor: processor()}
	if role == assemble.RoleImage {
		for i, src := range m.Summary.Sources {
			data := m.Processes[src.Role].Binary
			key.Sources = append(key.Sources, pictureKey{Dataset: data.Ref(), SHA256: data.SHA256, With: m.Spec.Data.Train[i].With,
				Digest: src.Info.Digest, Size: info.ImageSize, Packed: m.Spec.Data.Cache != nil && m.Spec.Data.Cache.Format == "jpeg"})
		}
		if len(key.Sources) == 1 {
			key.Pictures, key.Sources = &key.Sources[0], nil
		}
	}
	return feature.Open(root, key, info.EmbedDim, warn)
}

// parametersDigest returns the sha256 of all that an encoder saves but its optimiser's state: of names and values, so
// that weights loaded by runs of different seeds count as the same.
func parametersDigest(ctx context.Context, e clip.Encoder) (string, error) {
	dir, release, err := leftover.Dir("tandem-features-")
	if err != nil {
		return "", fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	path := filepath.Join(dir, "encoder.safetensors")
	if err := e.Save(ctx, path); err != nil {
		return "", err
	}
	f, err := weights.Open(path)
	if err != nil { // the encoder saves in a form of its own: then all of it counts
		sha, err := files.Digest(path)
		return sha, err
	}
	defer f.Close()
	h := sha256.New()
	names := f.Names()
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, weights.SlotPrefix) || strings.HasPrefix(name, weights.AveragePrefix) {
			continue
		}
		t, err := f.Read(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %v %v\n", name, t.DType, t.Shape)
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// processor names the model of this machine's processor, on which the last bits depend.
func processor() string {
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}
