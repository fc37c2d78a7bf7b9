package keymap

import (
	"io"
	"path/filepath"

	"tandem/core/engine/weights"
	"tandem/core/engine/weights/torchfile"
	"tandem/core/fault"
)

// Join writes the tensors of files, the parts of a model, as one safetensors file. The parts may be PyTorch's.
func Join(files []string, out string) error {
	var all []weights.Tensor
	var meta map[string]string
	from := map[string]string{}
	for _, path := range files {
		tensors, own, file, err := tensorsOf(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if meta == nil {
			meta = own
		}
		for _, t := range tensors {
			if twin, twice := from[t.Name]; twice {
				return fault.New(fault.Invalid, "tensor %q is in %s too", t.Name, filepath.Base(twin)).WithFile(path, 0, 0)
			}
			from[t.Name] = path
		}
		all = append(all, tensors...)
	}
	return weights.Write(out, all, meta)
}

// tensorsOf opens a file of safetensors or of PyTorch.
func tensorsOf(path string) ([]weights.Tensor, map[string]string, io.Closer, error) {
	if torchfile.Is(path) {
		f, err := torchfile.Open(path)
		if err != nil {
			return nil, nil, nil, err
		}
		return f.Tensors(), nil, f, nil
	}
	f, err := weights.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	tensors := make([]weights.Tensor, len(f.Names()))
	for i, name := range f.Names() {
		info, _ := f.Info(name)
		tensors[i] = weights.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Load: func() ([]byte, error) {
			t, err := f.Read(name)
			return t.Data, err
		}}
	}
	return tensors, f.Metadata(), f, nil
}

// NeedsJoin reports whether files have to be joined before anything can load them: they are several, or PyTorch's.
func NeedsJoin(files []string) bool { return len(files) > 1 || torchfile.Is(files[0]) }

// Check opens a file of weights and tells what is wrong with it.
func Check(path string) error {
	_, _, file, err := tensorsOf(path)
	if err != nil {
		return err
	}
	return file.Close()
}
