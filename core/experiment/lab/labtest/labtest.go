// Package labtest gives tests a laboratory: a database, a folder of runs, and plugins that are as small as plugins
// can be. The test binary is its own plugins, so runs in tests start real processes and speak the real protocol.
//
// A package that uses it calls Main from its TestMain.
package labtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/wire"
)

// Main runs the tests, or serves as the plugin that the binary is called as.
func Main(m *testing.M) {
	asked := len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--")
	if os.Getenv(wire.Handshake.MagicCookieKey) != "" || asked {
		switch filepath.Base(os.Args[0]) {
		case "tint":
			sdk.ServeEncoder(Tint)
		case "letters":
			sdk.ServeEncoder(Letters)
		case "pull":
			sdk.ServeLoss(Pull)
		case "pull2":
			sdk.ServeLoss(Pull2)
		case "compare":
			sdk.ServeLoss(Compare)
		case "dots":
			sdk.ServeDataset(Dots)
		case "colocated":
			sdk.ServeColocated(sdk.Colocated{Encoders: []sdk.Encoder{Tint, Letters}, Losses: []sdk.Loss{Pull}})
		}
	}
	os.Exit(m.Run())
}

// New returns an empty laboratory in a temporary folder. Its catalog has encoders/tint (pictures) and
// encoders/letters (texts), losses/pull, losses/compare and datasets/dots. It keeps no descriptors, which are kept by
// checksum: all these plugins are one file.
func New(t testing.TB) lab.Lab {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	Must(t, err)
	for _, name := range []string{"encoders/tint", "encoders/letters", "losses/pull", "losses/compare", "datasets/dots"} {
		path := filepath.Join(dir, "plugins", name)
		Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		Must(t, os.Symlink(self, path))
	}
	return lab.Lab{DB: filepath.Join(dir, "results.db"), RunsDir: filepath.Join(dir, "runs"),
		Catalog: &catalog.Catalog{Roots: []string{filepath.Join(dir, "plugins")}}}
}

// Colocate gives a laboratory the program that serves encoders/tint, encoders/letters and losses/pull in one process, as
// if one build had made all. It returns the program's path.
func Colocate(t testing.TB, l lab.Lab) string {
	t.Helper()
	root := l.Catalog.Roots[0]
	self, err := os.Executable()
	Must(t, err)
	sum, err := wire.SHA256(self)
	Must(t, err)
	path := filepath.Join(root, "colocated")
	Must(t, os.Symlink(self, path))
	text, err := json.Marshal(wire.ColocatedManifest{SHA256: sum, Plugins: map[string]string{"encoders/tint": sum, "encoders/letters": sum, "losses/pull": sum}})
	Must(t, err)
	Must(t, os.WriteFile(path+".json", text, 0o644))
	return path
}

// SecondPull returns the path of version 2.0.0 of losses/pull, which no catalog has. Its value is a little more than that of
// version 1.0.0 from the fourth training step on; its gradients are the same.
func SecondPull(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	Must(t, err)
	code, err := os.ReadFile(self)
	Must(t, err)
	path := filepath.Join(t.TempDir(), "pull2")
	Must(t, os.WriteFile(path, append(code, 0), 0o755)) // another digest
	return path
}

// Text holds a spec of eight steps with an evaluation after every fourth.
const Text = `name: tiny
image: {encoder: tint}
text: {encoder: letters}
loss: {plugin: pull}
embed_dim: 4
data:
  train: {dataset: dots}
eval:
  - {name: dots, dataset: dots, with: {samples: 8}, zero_shot: {classes: parity, templates: ["a {} dot"]}, retrieval: true}
train:
  batch_size: 8
  max_steps: 8
  eval_every: 4
  checkpoint_every: 2
  log_every: 1
threads: 1
device: cpu
`

// File writes a spec beside the laboratory's database and returns its path.
func File(t testing.TB, l lab.Lab, text string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(l.DB), "spec.yaml")
	Must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// Spec returns the spec Text with some keys set: "train.max_steps=4".
func Spec(t testing.TB, l lab.Lab, set ...string) *spec.Spec {
	t.Helper()
	s, err := l.Load(File(t, l, Text), set)
	Must(t, err)
	return s
}

// Must ends a test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}
