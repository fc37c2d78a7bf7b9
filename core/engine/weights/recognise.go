package weights

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"tandem/core/fault"
)

// recognise says what a file is that is no safetensors file, and what to do about it; nil when nobody can tell. Only its
// beginning and its end are read.
func recognise(r io.ReaderAt, size int64, path string) *fault.Error {
	const most = 64 << 10
	head := make([]byte, min(most, size))
	n, _ := r.ReadAt(head, 0)
	head = head[:n]
	tail := make([]byte, min(most, size))
	n, _ = r.ReadAt(tail, size-int64(len(tail)))
	tail = tail[:n]
	if size == 0 {
		return notSafetensors("an empty file").WithHint("the download or the copy failed; fetch it again")
	}
	if len(bytes.Trim(head, "\x00")) == 0 && len(bytes.Trim(tail, "\x00")) == 0 {
		return notSafetensors("nothing but zeros").WithHint("the download or the copy was not finished; fetch it again")
	}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")) {
		return recogniseZip(append(head[:len(head):len(head)], tail...), path)
	}
	if legacy := []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."); bytes.HasPrefix(head, legacy) {
		return convertTorch(notSafetensors("a PyTorch file of the old format (pickle)"), path)
	}
	if len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && tail[len(tail)-1] == '.' {
		return convertWith(notSafetensors("a Python pickle"), path, `d = pickle.load(open(%q, "rb"))`, "import pickle, numpy, safetensors.numpy", "safetensors.numpy.save_file({k: numpy.ascontiguousarray(v) for k, v in d.items()}, %q)").
			WithHint("loading it runs what it says, so only from a source that you trust; then name what this writes")
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return notSafetensors("a tar archive").WithHint("unpack it and name the .safetensors file in it: tar xf %s", filepath.Base(path))
	}
	for _, m := range magics {
		if bytes.HasPrefix(head[min(m.at, len(head)):], []byte(m.bytes)) {
			return notSafetensors(m.what).WithHint("%s", m.hint)
		}
	}
	if f := recogniseText(head, path); f != nil {
		return f
	}
	switch {
	case len(head) > 4 && head[0] == 8 && head[1] < 32 && head[2] == 0x12 && isText(head[4:4+min(len(head)-4, int(head[3]))]):
		return notSafetensors("an ONNX model").WithHint("it holds a graph, not named parameters: take the .safetensors or PyTorch file of the same model")
	case len(head) > 2 && (head[0] > 0x80 && head[0] <= 0x8f || head[0] == 0xde || head[0] == 0xdf) && msgpackText(head[1:]):
		return convertWith(notSafetensors("a msgpack file, as Flax writes"), path, `d = flax.traverse_util.flatten_dict(flax.serialization.msgpack_restore(open(%q, "rb").read()), sep=".")`,
			"import flax, numpy, safetensors.numpy", "safetensors.numpy.save_file({k: numpy.ascontiguousarray(v) for k, v in d.items()}, %q)").
			WithHint("its names are Flax's: take the PyTorch or .safetensors file of the same model instead, or rename what this writes")
	}
	return nil
}

func notSafetensors(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format+", not safetensors", args...)
}

// magics lists how files of other formats begin.
var magics = []struct {
	at                int
	bytes, what, hint string
}{
	{0, "\x1f\x8b", "a gzip archive", "unpack it (gunzip or tar xzf) and name the .safetensors file"},
	{0, "BZh", "a bzip2 archive", "unpack it (bunzip2 or tar xjf) and name the .safetensors file"},
	{0, "\xfd7zXZ\x00", "an xz archive", "unpack it (unxz or tar xJf) and name the .safetensors file"},
	{0, "\x28\xb5\x2f\xfd", "a zstd archive", "unpack it (unzstd) and name the .safetensors file"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the .safetensors file"},
	{0, "Rar!", "a RAR archive", "unpack it and name the .safetensors file"},
	{0, "GGUF", "a GGUF file (llama.cpp, clip.cpp)", "its weights are packed for that program, often rounded: take the .safetensors or PyTorch file of the same model"},
	{0, "ggml", "a GGML file", "take the .safetensors or PyTorch file of the same model"},
	{0, "lmgg", "a GGML file", "take the .safetensors or PyTorch file of the same model"},
	{0, "\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", "take the .safetensors or PyTorch file of the same model, or write its arrays with safetensors.numpy.save_file under OpenCLIP's names"},
	{0, "\x93NUMPY", "a NumPy array", "a model is many named arrays: write them with safetensors.numpy.save_file({name: array}, file)"},
	{4, "TFL3", "a TensorFlow Lite model", "take the .safetensors or PyTorch file of the same model"},
	{0, "PAR1", "a Parquet file", "weights are named .safetensors; this is a table"},
	{0, "SQLite format 3\x00", "an SQLite database", "weights are named .safetensors; results are read with --db"},
	{0, "\x89PNG\r\n\x1a\n", "a PNG picture", "weights are named .safetensors"},
	{0, "\xff\xd8\xff", "a JPEG picture", "weights are named .safetensors"},
	{0, "GIF8", "a GIF picture", "weights are named .safetensors"},
	{0, "%PDF-", "a PDF document", "weights are named .safetensors"},
	{0, "\x7fELF", "a program", "weights are named .safetensors"},
	{0, "MZ", "a program of Windows", "weights are named .safetensors"},
}

// convertTorch adds the lines of Python that convert what torch.save wrote.
func convertTorch(e *fault.Error, path string) *fault.Error {
	return convertWith(e, path, `d = torch.load(%q, map_location="cpu", weights_only=True); d = d.get("state_dict", d.get("model", d))`,
		"import torch, safetensors.torch", "safetensors.torch.save_file({k: v.clone().contiguous() for k, v in d.items() if torch.is_tensor(v)}, %q)")
}

// convertWith adds lines of Python: the imports, how to load the file and how to write the other.
func convertWith(e *fault.Error, path, load, imports, save string) *fault.Error {
	name := filepath.Base(path)
	out := strings.TrimSuffix(name, filepath.Ext(name)) + ".safetensors"
	if out == name {
		out = "converted.safetensors"
	}
	return e.WithHint("convert it with Python and name %s instead", out).WithDetail(imports + "\n" + fmt.Sprintf(load, name) + "\n" + fmt.Sprintf(save, out) + "\n")
}

// recogniseZip tells what is in a zip archive by the names of its files.
func recogniseZip(ends []byte, path string) *fault.Error {
	has := func(s string) bool { return bytes.Contains(ends, []byte(s)) }
	switch {
	case has("/constants.pkl") || has("/code/__torch__"):
		return convertWith(notSafetensors("a TorchScript archive"), path, `d = torch.jit.load(%q, map_location="cpu").state_dict()`,
			"import torch, safetensors.torch", "safetensors.torch.save_file({k: v.clone().contiguous() for k, v in d.items()}, %q)")
	case has("data.pkl"):
		return convertTorch(notSafetensors("a PyTorch file (zip)"), path)
	case has("model.weights.h5"):
		return notSafetensors("a Keras model").WithHint("take the .safetensors or PyTorch file of the same model")
	case has(".npy"):
		return convertWith(notSafetensors("a NumPy archive (npz)"), path, `d = dict(numpy.load(%q))`, "import numpy, safetensors.numpy", "safetensors.numpy.save_file(d, %q)")
	}
	return notSafetensors("a zip archive").WithHint("unpack it and name the .safetensors file in it")
}

// recogniseText tells what a text is; nil when head is none.
func recogniseText(head []byte, path string) *fault.Error {
	text := strings.TrimPrefix(string(head), "\ufeff")
	start := strings.ToLower(strings.TrimSpace(text[:min(len(text), 1<<10)]))
	begins := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(start, p) {
				return true
			}
		}
		return false
	}
	switch {
	case begins("version https://git-lfs.github.com/spec/"):
		return notSafetensors("a Git LFS pointer: the name of the file that belongs here").WithHint("fetch the file itself: git lfs install && git lfs pull")
	case strings.Contains(start, "annex/objects/") && len(text) < 1<<10:
		return notSafetensors("a git-annex pointer: the name of the file that belongs here").WithHint("fetch the file itself: git annex get %s", filepath.Base(path))
	case begins("<!doctype", "<html", "<head", "<body", "<?xml", "<script", "<!--"):
		return notSafetensors("a web page").WithHint("the address gave a page (of a sign-in, an agreement or an error): fetch the file by its download link")
	case begins("{", "[") && strings.Contains(text, `"weight_map"`):
		return notSafetensors("the index of a model in several files").WithHint("name it by its name, which ends in .safetensors.index.json, or its folder")
	case begins("{", "["):
		return notSafetensors("a JSON text, of %s", quoteLine(text)).WithHint("it is the answer of a server or a config; the weights themselves end in .safetensors")
	case isText(head):
		return notSafetensors("a text that begins with %s", quoteLine(text)).WithHint("weights are a .safetensors file")
	}
	return nil
}

func quoteLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if r := []rune(line); len(r) > 40 {
		line = string(r[:40]) + "…"
	}
	return fmt.Sprintf("%q", line)
}

// isText reports whether data is text that people write.
func isText(data []byte) bool {
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 && len(data) >= utf8.UTFMax || !unicode.IsPrint(r) && !unicode.IsSpace(r) && r != utf8.RuneError {
			return false
		}
		data = data[n:]
	}
	return true
}

// msgpackText reports whether a short string of msgpack stands at the beginning.
func msgpackText(data []byte) bool {
	for i := 0; i < len(data) && i < 3; i++ {
		if n := int(data[i]) - 0xa0; n > 0 && n < 32 && i+1+n <= len(data) && isText(data[i+1:i+1+n]) {
			return true
		}
	}
	return false
}
