package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

// folder writes a training set of n pictures of 8 × 8, digit by digit, where data get puts the files.
func folder(t *testing.T, n int) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, module.Folder, "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pixels, labels := []byte{0, 0, 8, 3}, []byte{0, 0, 8, 1}
	for _, axis := range []int{n, 8, 8} {
		pixels = binary.BigEndian.AppendUint32(pixels, uint32(axis))
	}
	labels = binary.BigEndian.AppendUint32(labels, uint32(n))
	for i := range n * 64 {
		pixels = append(pixels, byte(i*i>>3))
	}
	for i := range n {
		labels = append(labels, byte(i%10))
	}
	for name, data := range map[string][]byte{"train-images-idx3-ubyte": pixels, "train-labels-idx1-ubyte": labels} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func configure(with map[string]any) (clip.Dataset, clip.DatasetInfo, error) {
	raw, _ := json.Marshal(with)
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: raw, ImageSize: 8, Threads: 1})
	return d, info, err
}

func TestPromises(t *testing.T) {
	with, _ := json.Marshal(map[string]any{"root": folder(t, 40)})
	conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Capabilities: Plugin.Capabilities, With: string(with)})
}

func TestDigitsAreCaptionedByTheirWords(t *testing.T) {
	d, info, err := configure(map[string]any{"root": folder(t, 12), "limit": 11, "templates": []string{"the {}"}})
	if err != nil || info.Len != 11 || info.Targets[0].Name != "digit" {
		t.Fatalf("%+v, %v", info, err)
	}
	b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{3, 10}})
	if err != nil || b.Captions[0] != "the three" || b.Captions[1] != "the zero" || b.Labels["digit"][0] != 3 {
		t.Errorf("%q, %v, %v", b.Captions, b.Labels, err)
	}
}

func TestAbsentFilesSayHowToGetThem(t *testing.T) {
	for _, root := range []string{"/nonexistent", t.TempDir()} {
		_, _, err := configure(map[string]any{"root": root})
		if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "runner data get mnist") {
			t.Errorf("%s: %v", root, err)
		}
	}
}

// The whole set is tried where TANDEM_MNIST_ROOT names what data get mnist fetched.
func TestTheWholeSet(t *testing.T) {
	root := os.Getenv("TANDEM_MNIST_ROOT")
	if root == "" {
		t.Skip("TANDEM_MNIST_ROOT is not set")
	}
	for split, n := range map[string]int{"train": 60000, "test": 10000} {
		if _, info, err := configure(map[string]any{"root": root, "split": split}); err != nil || info.Len != n {
			t.Errorf("%s: %d pictures, %v", split, info.Len, err)
		}
	}
}
