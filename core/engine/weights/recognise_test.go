package weights

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tandem/core/fault"
)

func archive(t *testing.T, names ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range names {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: n}); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return b.String()
}

// Files of other formats are told by their content, with the remedy, whatever their name.
func TestFilesThatAreNoSafetensorsSayWhatTheyAre(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct{ content, what, remedy string }{
		{archive(t, "epoch_1/data.pkl", "epoch_1/data/0", "epoch_1/version"), "a PyTorch file (zip)", "torch.load("},
		{archive(t, "jit/data.pkl", "jit/code/__torch__.py", "jit/constants.pkl"), "a TorchScript archive", "torch.jit.load("},
		{archive(t, "a.npy", "b.npy"), "a NumPy archive (npz)", "numpy.load("},
		{archive(t, "readme.txt"), "a zip archive", "unpack it"},
		{"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "old format", "torch.load("},
		{"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.", "a Python pickle", "pickle.load("},
		{"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 605143316\n", "a Git LFS pointer", "git lfs pull"},
		{"/annex/objects/SHA256E-s9--ab\n", "a git-annex pointer", "git annex get"},
		{"\n<!DOCTYPE html><html><body>Please sign in</body></html>\n", "a web page", "download link"},
		{`{"error": "Access to model is restricted"}`, "a JSON text", "answer of a server"},
		{`{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}`, "the index of a model in several files", "folder"},
		{"Entry not found", `a text that begins with "Entry not found"`, ".safetensors"},
		{"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "a gzip archive", "unpack"},
		{strings.Repeat("x", 257) + "ustar\x0000" + strings.Repeat("\x00", 249), "a tar archive", "tar xf"},
		{"GGUF\x03\x00\x00\x00\x01\x00\x00\x00", "a GGUF file", "same model"},
		{"\x08\x07\x12\x07pytorch\x1a\x05", "an ONNX model", "same model"},
		{"\x89HDF\r\n\x1a\n\x00\x00\x00", "an HDF5 file", "same model"},
		{"\x93NUMPY\x01\x00v\x00", "a NumPy array", "save_file"},
		{"\x81\xa6params\x81\xa6visual\x80", "a msgpack file", "Flax"},
		{"", "an empty file", "again"},
		{strings.Repeat("\x00", 4096), "nothing but zeros", "again"},
		{"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d", "a PNG picture", ".safetensors"},
	} {
		path := filepath.Join(dir, fmt.Sprintf("w%d.safetensors", i))
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.File != path || !strings.Contains(f.Msg, c.what) || f.Hint == "" ||
			!strings.Contains(f.Hint+f.Detail, c.remedy) {
			t.Errorf("%q: %v, want %q with %q", c.content[:min(len(c.content), 20)], err, c.what, c.remedy)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, what := range map[string]string{pipe: "a pipe", "/dev/zero": "a device", dir: "a folder"} {
		if _, err := Open(path); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFilesCutShortSayHowMuchIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := os.WriteFile(path, raw(`{"a":`+entry+`,"b":{"dtype":"F32","shape":[100],"data_offsets":[4,404]}}`, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Corrupt || !strings.Contains(f.Hint, "304 bytes more") {
		t.Errorf("%v, hint %q", err, f.Hint)
	}
}

// A hostile header costs no more than a bounded number of entries, however many it has.
func TestHeadersOfAMillionEntriesAreRefusedEarly(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range maxTensors + 10 {
		fmt.Fprintf(&b, `"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, i)
	}
	b.WriteString(`"rest": no JSON at all`)
	file := raw(b.String(), 0)
	if _, err := Decode(bytes.NewReader(file), int64(len(file))); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more than %d tensors", maxTensors)) {
		t.Errorf("got %v", err)
	}
	file = raw(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 1e5)+`1],"data_offsets":[0,1]}}`, 1)
	if _, err := Decode(bytes.NewReader(file), int64(len(file))); err == nil || !strings.Contains(err.Error(), "a list of more than 32 sizes") {
		t.Errorf("got %v", err)
	}
}
