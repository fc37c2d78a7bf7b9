package torchfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// The tensors of files that PyTorch wrote are those that its own safetensors writer wrote.
func TestTensorsAreThoseOfPyTorch(t *testing.T) {
	for file, golden := range map[string]string{
		"state_dict.pt": "state_dict", "legacy.bin": "state_dict", "epoch_3.pt": "epoch_3", "parameters.pth": "parameters", "jit.pt": "jit",
	} {
		f, err := Open(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		want, err := weights.Open(filepath.Join("testdata", golden+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, x := range f.Tensors() {
			if golden == "epoch_3" && strings.HasPrefix(x.Name, "optimizer.") {
				continue
			}
			found[x.Name] = true
			info, ok := want.Info(x.Name)
			if !ok {
				t.Errorf("%s: %s is no tensor of the model", file, x.Name)
				continue
			}
			data, err := x.Load()
			if err != nil {
				t.Fatal(err)
			}
			expected, err := want.Read(x.Name)
			if err != nil {
				t.Fatal(err)
			}
			if x.DType != info.DType || fmt.Sprint(x.Shape) != fmt.Sprint(info.Shape) || !bytes.Equal(data, expected.Data) {
				t.Errorf("%s: %s is %s %v, want %s %v and equal bytes", file, x.Name, x.DType, x.Shape, info.DType, info.Shape)
			}
		}
		for _, name := range want.Names() {
			if !found[name] {
				t.Errorf("%s: %s is missing", file, name)
			}
		}
		if !Is(filepath.Join("testdata", file)) || Is(filepath.Join("testdata", golden+".safetensors")) {
			t.Errorf("%s is told apart wrongly", file)
		}
		f.Close()
		want.Close()
	}
}

// What does more than give tensors is refused, and named; what lies about its size costs nothing.
func TestHostileFilesAreRefusedByName(t *testing.T) {
	const touched = "/tmp/tandem-was-here"
	for name, want := range map[string]string{
		"system": `"posix.system"`, "eval": `"builtins.eval"`, "legacy": `"__builtin__.exec"`, "namespace": `"argparse.Namespace"`,
		"expanded": "a view that repeats elements", "beyond": "of a storage of 4", "stride": "of a storage of 4", "short": "its storage has 16 bytes",
		"missing": `its storage "7" is not in the file`, "packed": "is compressed", "order": `the byte order "big"`,
		"cycle": "contains itself", "shared": "values", "cut": "pickle, byte", "huge_text": "bytes are missing", "empty": "without tensors",
	} {
		path := filepath.Join("testdata", "hostile_"+name+".pt")
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Errorf("%s was read", name)
			continue
		}
		if text := fault.Format(err); !strings.Contains(text, want) || !strings.Contains(text, path) {
			t.Errorf("%s: %s; want %s", name, text, want)
		}
	}
	if _, err := os.Stat(touched); err == nil {
		t.Error("a command ran")
	}
	files, _ := filepath.Glob("testdata/hostile_*")
	if len(files) != 16 {
		t.Errorf("%d hostile files, 16 are tried", len(files))
	}
}

// A long key above many references to one tensor is short in a pickle, and would be in the name of each.
func TestNamesThatAddUpAreRefused(t *testing.T) {
	x, many := &tensor{}, &list{}
	for range 65 {
		many.items = append(many.items, x)
	}
	root := &dict{}
	root.set(strings.Repeat("a", 1<<20), many)
	if _, err := flatten(root); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("%v, want fault.Corrupt", err)
	}
	root.keys[0] = "a"
	if found, err := flatten(root); err != nil || len(found) != 65 {
		t.Errorf("%d tensors, %v", len(found), err)
	}
}

// Every prefix of a file is refused: a download that was cut short never passes for a model.
func TestFilesCutShortAreRefused(t *testing.T) {
	for _, name := range []string{"state_dict.pt", "legacy.bin"} {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		for n := 0; n < len(whole); n += 97 {
			if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			if f, err := Open(path); err == nil {
				f.Close()
				t.Errorf("%s: the first %d of %d bytes were read", name, n, len(whole))
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/*.p*")
	for _, path := range seeds {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "x.pt")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		for _, x := range file.Tensors() {
			if _, err := x.Load(); err != nil && fault.KindOf(err) == fault.Internal {
				t.Error(err)
			}
		}
	})
}
