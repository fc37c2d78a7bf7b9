package core_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"tandem/core/clip"
	"tandem/core/media/vision"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/process"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/plugin/wire/pb"
)

const pythonSDK = "plugin/sdk/python"

// findPython returns a Python with the modules. Without one the test is skipped.
func findPython(t *testing.T, modules string) string {
	t.Helper()
	for _, python := range []string{os.Getenv(catalog.EnvPython), "../.venv/python/bin/python", "python3"} {
		path, err := exec.LookPath(python)
		if err != nil {
			continue
		}
		if exec.Command(path, "-c", "import "+modules).Run() == nil {
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return abs
		}
	}
	t.Skipf("no Python has %s: run make python, or set %s", modules, catalog.EnvPython)
	return ""
}

// needTorch skips a test that takes minutes, or that needs a package of gigabytes.
func needTorch(t *testing.T) string {
	t.Helper()
	if os.Getenv("TANDEM_TEST_TORCH") == "" {
		t.Skip("make test-python runs the tests with PyTorch")
	}
	return findPython(t, "torch, grpc, numpy, PIL")
}

// startPython returns a session in which the interpreter finds the SDK of this tree.
func startPython(t *testing.T, python string) *process.Session {
	t.Helper()
	sdk, err := filepath.Abs(pythonSDK)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", sdk)
	session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{Python: python}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

func pythonPlugin(name string) string {
	path, err := filepath.Abs(filepath.Join(pythonSDK, "tests", "plugins", name))
	if err != nil {
		panic(err)
	}
	return path
}

// stopper ends the process of a plugin when the plugin is closed; a session would keep hundreds of them.
type stopper struct {
	process *process.Process
	stopped bool
}

func (s *stopper) close(plugin func() error) error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	err := plugin()
	if err == nil {
		err = plugin() // the second call does nothing
	}
	s.process.Stop()
	return err
}

type stoppedEncoder struct {
	clip.BucketedEncoder
	stopper
}

func (e *stoppedEncoder) Close() error { return e.close(e.BucketedEncoder.Close) }

// bucketedLoss is a loss of any process.
type bucketedLoss interface {
	clip.Loss
	clip.Bucketed
}

type stoppedLoss struct {
	bucketedLoss
	stopper
}

func (l *stoppedLoss) Close() error { return l.close(l.bucketedLoss.Close) }

type stoppedDataset struct {
	clip.Dataset
	stopper
}

func (d *stoppedDataset) Close() error { return d.close(d.Dataset.Close) }

// conform reports the findings of the conformance kit.
func conform(t *testing.T, findings []conformance.Finding) {
	t.Helper()
	for _, f := range findings {
		if f.Err != nil {
			t.Errorf("%s: %v", f.Rule, f.Err)
		}
	}
}

// TestThePythonSDKHasTheMessagesOfThisProtocol checks the committed description against the generated Go code.
func TestThePythonSDKHasTheMessagesOfThisProtocol(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(pythonSDK, "tandem", "tandem.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	if want := protodesc.ToFileDescriptorProto(pb.File_tandem_proto); len(set.File) != 1 || !proto.Equal(set.File[0], want) {
		t.Error("tandem.binpb is not of this tandem.proto: run make gen")
	}
}

func TestALossInPythonKeepsThePromises(t *testing.T) {
	session := startPython(t, findPython(t, "grpc, numpy"))
	conform(t, conformance.CheckLoss(func() clip.Loss {
		l, p, err := session.StartLoss(background, pythonPlugin("npclip"), process.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return &stoppedLoss{l.(bucketedLoss), stopper{process: p}}
	}, conformance.LossOptions{Capabilities: []string{clip.CapBuckets}}))
}

// Losses of further inputs: the kit compares the gradient of each with finite differences.
func TestALossInPythonTakesNegativesViewsAndGroups(t *testing.T) {
	inputs := []string{clip.InputTextNegatives, clip.InputImageView2, clip.InputGroups}
	checkLossOf(t, startPython(t, findPython(t, "grpc, numpy")), "byhand", inputs)
}

func TestALossInPythonTakesEveryInput(t *testing.T) {
	checkLossOf(t, startPython(t, needTorch(t)), "everything", clip.LossInputs)
}

func checkLossOf(t *testing.T, session *process.Session, name string, inputs []string) {
	conform(t, conformance.CheckLoss(func() clip.Loss {
		l, p, err := session.StartLoss(background, pythonPlugin(name), process.StartOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		return &stoppedLoss{l.(bucketedLoss), stopper{process: p}}
	}, conformance.LossOptions{Capabilities: []string{clip.CapBuckets}, Inputs: inputs}))
}

func TestADatasetInPythonKeepsThePromises(t *testing.T) {
	session := startPython(t, findPython(t, "grpc, numpy, PIL"))
	conform(t, conformance.CheckDataset(func() clip.Dataset {
		d, p, err := session.StartDataset(background, pythonPlugin("squares"), process.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return &stoppedDataset{d, stopper{process: p}}
	}, conformance.DatasetOptions{Capabilities: []string{clip.CapView2, clip.CapAugment}}))
}

func TestAnEncoderInPythonKeepsThePromises(t *testing.T) {
	session := startPython(t, needTorch(t))
	conform(t, conformance.CheckEncoder(func() clip.Encoder {
		e, p, err := session.StartEncoder(background, pythonPlugin("tinyconv"), process.StartOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		return &stoppedEncoder{e.(clip.BucketedEncoder), stopper{process: p}}
	}, conformance.EncoderOptions{Capabilities: []string{clip.CapBuckets}, With: `{"width": 2, "norm": true, "dropout": 0.2}`, EmbedDim: 4}))
}

func TestALossInPyTorchKeepsThePromisesInPython(t *testing.T) {
	session := startPython(t, needTorch(t))
	conform(t, conformance.CheckLoss(func() clip.Loss {
		l, p, err := session.StartLoss(background, pythonPlugin("torchclip"), process.StartOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		return &stoppedLoss{l.(bucketedLoss), stopper{process: p}}
	}, conformance.LossOptions{Capabilities: []string{clip.CapBuckets}}))
}

// TestADatasetInPythonHasTheSamePixels compares a dataset of the SDK with one of core/plugin/sdk/sample on the same
// pictures: pixels of evaluation and training, and captions, all to the bit.
func TestADatasetInPythonHasTheSamePixels(t *testing.T) {
	python := findPython(t, "grpc, numpy, PIL")
	if out, err := exec.Command(python, "-c", "import PIL; assert int(PIL.__version__.split('.')[0]) >= 13").CombinedOutput(); err != nil {
		t.Skipf("Pillow is older than 13: %s", out)
	}
	session := startPython(t, python)
	for _, name := range []string{"testdata", "testdata/photos"} {
		t.Run(name, func(t *testing.T) { samePixels(t, session, "media/vision/"+name) })
	}
}

func samePixels(t *testing.T, session *process.Session, folder string) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	theirs, p, err := session.StartDataset(background, pythonPlugin("pictures"), process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ours := sample.New(func(context.Context, clip.DatasetConfig) (*sample.Set, error) { return picturesOf(folder) })
	config := clip.DatasetConfig{With: fmt.Appendf(nil, `{"folder": %q}`, folder), ImageSize: 24, Seed: 1 << 40, Threads: 2,
		Augment: &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{.3, .9}, Ratio: [2]float64{.75, 4. / 3}, HFlip: .5,
			ColorJitter: [4]float64{.4, .4, .4, .1}, ColorJitterProb: .8, Grayscale: .2, Blur: .5, BlurSigma: [2]float64{.1, 2}, RandAugmentOps: 2, RandAugmentMagnitude: 9}}
	info, err := theirs.Configure(background, config)
	if err != nil {
		t.Fatal(err, p.Tail())
	}
	if mine, err := ours.Configure(background, config); err != nil || mine.Len != info.Len || info.Len < 10 {
		t.Fatalf("%d pictures and %d: %v", mine.Len, info.Len, err)
	}
	all := make([]int, info.Len)
	for i := range all {
		all[i] = i
	}
	for _, q := range []clip.BatchRequest{{Indices: all}, {Indices: all, Train: true, Epoch: 1}, {Indices: all, Train: true, Epoch: 2, View2: true, Negatives: true}} {
		a, err1 := ours.Batch(background, q)
		b, err2 := theirs.Batch(background, q)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if len(a.Faults) != len(b.Faults) {
			t.Errorf("faults %v and %v", a.Faults, b.Faults)
		}
		each := len(a.Images.Data) / len(all)
		for i := range all {
			if a.Keys[i] != b.Keys[i] || a.Captions[i] != b.Captions[i] {
				t.Errorf("%s %q and %s %q", a.Keys[i], a.Captions[i], b.Keys[i], b.Captions[i])
			}
			if !bytes.Equal(a.Images.Data[i*each:][:each], b.Images.Data[i*each:][:each]) && !(filepath.Ext(a.Keys[i]) == ".jpg" && !vision.JPEGIsExact()) {
				t.Errorf("the pixels of %s differ, with Train %v", a.Keys[i], q.Train)
			}
			if q.Negatives && !slices.Equal(a.Negatives[i], b.Negatives[i]) {
				t.Errorf("negatives %q and %q", a.Negatives[i], b.Negatives[i])
			}
			if q.View2 && !bytes.Equal(a.Images2.Data[i*each:][:each], b.Images2.Data[i*each:][:each]) && filepath.Ext(a.Keys[i]) != ".jpg" {
				t.Errorf("the second view of %s differs", a.Keys[i])
			}
		}
		b.Images.Free()
		b.Images2.Free()
	}
}

// TestADatasetInPythonCountsByReason holds what falls out of a dataset of the SDK against the words that all datasets use.
func TestADatasetInPythonCountsByReason(t *testing.T) {
	session := startPython(t, findPython(t, "grpc, numpy, PIL"))
	d, p, err := session.StartDataset(background, pythonPlugin("broken"), process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Configure(background, clip.DatasetConfig{With: fmt.Appendf(nil, `{"folder": %q}`, t.TempDir()), ImageSize: 8, Threads: 2})
	if err != nil {
		t.Fatal(err, p.Tail())
	}
	want := []clip.Skip{{Reason: "no picture", Count: 2, First: "line 7"}, {Reason: "corrupt record", Count: 1}, {Reason: "other", Count: 3}, {Reason: "no caption", Count: 2, First: "sample 7: 7"}}
	if info.Len != 7 || info.Skipped != 8 || !slices.Equal(info.Skips, want) {
		t.Errorf("%d samples, %d refused: %+v", info.Len, info.Skipped, info.Skips)
	}
	b, err := d.Batch(background, clip.BatchRequest{Indices: []int{0, 1, 2, 3, 4, 5, 6}})
	if err != nil {
		t.Fatal(err, p.Tail())
	}
	var reasons []string
	for _, f := range b.Faults {
		reasons = append(reasons, fmt.Sprint(f.Index, " ", f.Reason))
	}
	if want := []string{"1 truncated picture", "2 empty picture", "3 corrupt picture", "4 missing picture", "5 no picture", "6 corrupt record"}; !slices.Equal(reasons, want) {
		t.Errorf("reasons %q, want %q: %+v", reasons, want, b.Faults)
	}
	b.Images.Free()
}

// picturesOf lists the pictures of a folder as tests/plugins/pictures does.
func picturesOf(folder string) (*sample.Set, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Negatives: 2}
	for _, e := range entries {
		if !slices.Contains([]string{".png", ".jpg", ".gif", ".bmp", ".webp"}, filepath.Ext(e.Name())) {
			continue
		}
		s := sample.Sample{Key: e.Name()}
		for k := range 5 {
			s.Captions = append(s.Captions, fmt.Sprintf("caption %d of %s", k, e.Name()))
		}
		for k := range 1 + len(set.Samples)%5 {
			s.Negatives = append(s.Negatives, fmt.Sprintf("not %d of %s", k, e.Name()))
		}
		set.Samples = append(set.Samples, s)
	}
	set.Open = func(i int) (vision.Picture, error) {
		data, err := os.ReadFile(filepath.Join(folder, set.Samples[i].Key))
		if err != nil {
			return vision.Picture{}, err
		}
		return vision.Decode(data, vision.Options{})
	}
	return set, nil
}

// TestThePythonSDKsOwnTests runs those that need numpy alone.
func TestThePythonSDKsOwnTests(t *testing.T) {
	runPythonTests(t, findPython(t, "grpc, numpy"), "tests.test_plain")
}

// TestThePythonSDKAugmentsAsGoDoes runs those that need Pillow.
func TestThePythonSDKAugmentsAsGoDoes(t *testing.T) {
	runPythonTests(t, findPython(t, "grpc, numpy, PIL"), "tests.test_augment")
}

func TestThePythonSDKTrainsAsDocumented(t *testing.T) {
	runPythonTests(t, needTorch(t), "tests.test_torch")
}

func runPythonTests(t *testing.T, python, module string) {
	cmd := exec.Command(python, "-m", "unittest", module)
	cmd.Dir = pythonSDK
	cmd.Env = append(os.Environ(), "PYTHONPATH=", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestADescribedPythonPluginIsNotImportedAgain describes a script that says something else each time that it runs. A
// script cannot write to a file while it is described.
func TestADescribedPythonPluginIsNotImportedAgain(t *testing.T) {
	python := findPython(t, "grpc, numpy")
	startPython(t, python) // the SDK of this tree
	dir := t.TempDir()
	script := filepath.Join(dir, "mine", "plugin.py")
	plugin := "import tandem, time\nprint('a library greets')\ntandem.serve(tandem.Loss('mine', lambda x, p, c: 0, version=str(time.time_ns())))\n"
	if err := os.Mkdir(filepath.Dir(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(plugin), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &catalog.Catalog{Python: python, CacheDir: filepath.Join(dir, "cache")}
	var digest, version string
	for i := range 3 {
		d, b, err := c.Describe(clip.KindLoss, script)
		if err != nil || d.Name != "mine" {
			t.Fatalf("time %d: %+v, %v", i, b, err)
		}
		if i > 0 && (b.SHA256 != digest || d.Version != version) {
			t.Errorf("time %d: version %s, digest %s; before %s, %s", i, d.Version, b.SHA256, version, digest)
		}
		digest, version = b.SHA256, d.Version
	}
}

// TestThePluginsOfThePythonManualSayWhatTheyAre describes the programs of the SDK's README, which are as short as it
// promises.
func TestThePluginsOfThePythonManualSayWhatTheyAre(t *testing.T) {
	python := findPython(t, "grpc, numpy")
	startPython(t, python) // the SDK of this tree
	page, err := os.ReadFile(filepath.Join(pythonSDK, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```python\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	kinds := []struct {
		kind  clip.Kind
		lines int
	}{{clip.KindEncoder, 30}, {clip.KindLoss, 15}, {clip.KindDataset, 20}}
	if len(programs) != len(kinds) {
		t.Fatalf("%d programs, want %d", len(programs), len(kinds))
	}
	c := &catalog.Catalog{Python: python}
	for i, m := range programs {
		script := filepath.Join(t.TempDir(), "plugin.py")
		if err := os.WriteFile(script, []byte(m[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Describe(kinds[i].kind, script); err != nil {
			t.Error(err)
		}
		lines := slices.DeleteFunc(strings.Split(m[1], "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
		if len(lines) > kinds[i].lines {
			t.Errorf("the %s has %d lines, want at most %d", kinds[i].kind, len(lines), kinds[i].lines)
		}
	}
}
