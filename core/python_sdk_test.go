package core_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"tandem/core/clip"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/process"
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
		l, _, err := session.StartLoss(background, pythonPlugin("npclip"), process.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}, conformance.LossOptions{}))
}

func TestADatasetInPythonKeepsThePromises(t *testing.T) {
	session := startPython(t, findPython(t, "grpc, numpy, PIL"))
	conform(t, conformance.CheckDataset(func() clip.Dataset {
		d, _, err := session.StartDataset(background, pythonPlugin("squares"), process.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, conformance.DatasetOptions{}))
}

func TestAnEncoderInPythonKeepsThePromises(t *testing.T) {
	session := startPython(t, needTorch(t))
	for _, with := range []string{`{"width": 2}`, `{"width": 2, "norm": true, "dropout": 0.2}`} {
		t.Run(with, func(t *testing.T) {
			conform(t, conformance.CheckEncoder(func() clip.Encoder {
				e, _, err := session.StartEncoder(background, pythonPlugin("tinyconv"), process.StartOptions{Threads: 1})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}, conformance.EncoderOptions{With: with, EmbedDim: 4}))
		})
	}
}

func TestALossInPyTorchKeepsThePromisesInPython(t *testing.T) {
	session := startPython(t, needTorch(t))
	conform(t, conformance.CheckLoss(func() clip.Loss {
		l, _, err := session.StartLoss(background, pythonPlugin("torchclip"), process.StartOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}, conformance.LossOptions{}))
}
