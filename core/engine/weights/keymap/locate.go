package keymap

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/files"
)

// published lists the names that libraries give the weights of a model in its folder, the best first.
var published = []string{"open_clip_model.safetensors", "model.safetensors"}

// publishedTorch lists the names of PyTorch's files in such a folder, which count where there is no .safetensors file.
var publishedTorch = []string{"open_clip_pytorch_model.bin", "pytorch_model.bin", "*.pt", "*.pth", "*.bin"}

// indexEnd ends the name of the index of a model in several files.
const indexEnd = ".safetensors.index.json"

// convertible lists patterns of weights that have to be converted first.
var convertible = []string{"*.ckpt", "*.npz", "*.h5", "*.msgpack", "*.gguf", "*.onnx", "*.pkl"}

// Locate returns the files of the weights that path means: a file stands for itself, the folder of a downloaded model
// for the .safetensors file in it, else for PyTorch's, and an index for the parts that it lists, sorted. The error for weights that are
// missing, or of another format, names the remedy.
func Locate(path string) ([]string, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, explainMissing(path, err)
	}
	if !stat.IsDir() {
		if strings.HasSuffix(path, ".index.json") {
			return parts(path)
		}
		return []string{path}, nil
	}
	for _, name := range published {
		for _, at := range []func(string) ([]string, error){
			func(file string) ([]string, error) { return []string{file}, nil },
			func(file string) ([]string, error) { return parts(strings.TrimSuffix(file, ".safetensors") + indexEnd) }} {
			file := filepath.Join(path, name)
			found, err := at(file)
			if err != nil && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if _, err := os.Stat(found[0]); err == nil {
				return found, nil
			}
		}
	}
	found, _ := filepath.Glob(filepath.Join(escapePath(path), "*.safetensors"))
	switch {
	case len(found) == 1:
		return found, nil
	case len(found) > 1:
		return nil, fault.New(fault.Invalid, "a folder with %d .safetensors files", len(found)).WithFile(path, 0, 0).
			WithHint("name one of them: %s", baseNames(found))
	}
	for _, pattern := range publishedTorch {
		found, _ = filepath.Glob(filepath.Join(escapePath(path), pattern))
		if len(found) > 1 {
			return nil, fault.New(fault.Invalid, "a folder with %d files %s", len(found), pattern).WithFile(path, 0, 0).
				WithHint("name one of them: %s", baseNames(found))
		}
		if len(found) == 1 {
			return found, nil
		}
	}
	for _, pattern := range convertible {
		if found, _ = filepath.Glob(filepath.Join(escapePath(path), pattern)); len(found) > 0 {
			if _, err := weights.Open(found[0]); err != nil { // it says how to convert it
				return nil, err
			}
		}
	}
	return nil, fault.New(fault.NotFound, "a folder without weights").WithFile(path, 0, 0).
		WithHint("weights are a .safetensors file, the folder of a downloaded model with model.safetensors, or a checkpoint's with image.safetensors")
}

func escapePath(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func baseNames(paths []string) string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = filepath.Base(p)
	}
	return some(names)
}

// explainMissing says that there is nothing at a path, and suggests what is there instead.
func explainMissing(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return files.Error(path, err)
	}
	f := fault.New(fault.NotFound, "%w", err).WithFile(path, 0, 0)
	f.Msg = "no such file or directory"
	names := []string{}
	if entries, readErr := os.ReadDir(filepath.Dir(path)); readErr == nil {
		for _, e := range entries[:min(len(entries), 1000)] {
			names = append(names, e.Name())
		}
	}
	if near := fault.Nearest(filepath.Base(path), names); near != "" {
		return f.WithHint("did you mean %s?", filepath.Join(filepath.Dir(path), near))
	}
	return f
}

// parts returns the files that an index lists.
func parts(index string) ([]string, error) {
	const most = 64 << 20
	data, err := files.Read(index, most)
	if err != nil {
		return nil, err
	}
	var list struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &list); err != nil || len(list.Weights) == 0 {
		return nil, fault.New(fault.Corrupt, "an index without a weight_map").WithFile(index, 0, 0)
	}
	names := map[string]bool{}
	for _, file := range list.Weights {
		if filepath.Base(file) != file {
			return nil, fault.New(fault.Invalid, "the index lists %q, which is no file beside it", file).WithFile(index, 0, 0)
		}
		names[file] = true
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		file := filepath.Join(filepath.Dir(index), name)
		if _, err := os.Stat(file); err != nil {
			return nil, fault.New(fault.NotFound, "the index lists %s, which is not there", name).WithFile(index, 0, 0).
				WithHint("download all %d parts", len(names))
		}
		found = append(found, file)
	}
	return found, nil
}
