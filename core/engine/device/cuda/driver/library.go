//go:build clipcuda

package driver

// #include <stdlib.h>
// #include "libraries.h"
import "C"

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"tandem/core/fault"
)

// library describes a library of NVIDIA's that is opened when it is needed.
type library struct {
	name     string   // "cuBLAS"
	variable string   // environment variable with a file or a folder
	sonames  []string // newest first
	pip      string   // what to install: "nvidia-cublas-cu12"
	beside   string   // a folder to look in first; "" for none
}

// cuBLAS, cuDNN and NCCL. A cuBLAS newer than the driver's CUDA does not start, so the driver's own comes first.
func cuBLAS(cuda int) library {
	l := library{name: "cuBLAS", variable: "TANDEM_CUBLAS", pip: "nvidia-cublas-cu12"}
	for _, major := range []string{"13", "12", "11"} {
		l.sonames = append(l.sonames, "libcublas.so."+major)
	}
	switch cuda / 1000 {
	case 11:
		slices.Reverse(l.sonames)
		l.pip = "nvidia-cublas-cu11"
	case 12:
		l.sonames = []string{"libcublas.so.12", "libcublas.so.11", "libcublas.so.13"}
	}
	return l
}

func cuDNN() library {
	return library{name: "cuDNN", variable: "TANDEM_CUDNN", pip: "nvidia-cudnn-cu12",
		sonames: []string{"libcudnn.so.9", "libcudnn.so.8"}}
}

func nccl() library {
	return library{name: "NCCL", variable: "TANDEM_NCCL", pip: "nvidia-nccl-cu12", sonames: []string{"libnccl.so.2"}}
}

// open opens the first of the library's files that can be opened, by open of libraries.c, which returns
// what dlopen says or null. Which file it was is returned; Unavailable when there is none.
func (l library) open(open func(path *C.char) *C.char) (string, error) {
	var said string
	for _, path := range l.candidates() {
		p := C.CString(path)
		why := open(p)
		C.free(unsafe.Pointer(p))
		if why == nil {
			return path, nil
		}
		// A file that is there and cannot be opened says more than one that is not.
		if text := C.GoString(why); said == "" || !strings.Contains(text, "cannot open shared object file: No such file") {
			said = text
		}
	}
	return "", fault.New(fault.Unavailable, "%s is missing (%s)", l.name, said).
		WithHint("pip install %s, or install it with the CUDA toolkit; %s may name its file or folder", l.pip, l.variable)
}

// candidates lists paths for dlopen, the best first: what the variable names and nothing else, else what the
// loader finds by name, then files in the usual folders.
func (l library) candidates() []string {
	if given := os.Getenv(l.variable); given != "" {
		if info, err := os.Stat(given); err != nil || !info.IsDir() {
			return []string{given}
		}
		return l.filesIn([]string{given})
	}
	var first []string
	if l.beside != "" {
		first = l.filesIn([]string{l.beside})
	}
	return slices.Concat(first, l.sonames, l.filesIn(libraryFolders()))
}

// filesIn finds the library's files in folders: every version of the first folder, then the next.
func (l library) filesIn(folders []string) []string {
	var found []string
	for _, folder := range folders {
		for _, soname := range l.sonames {
			path := filepath.Join(folder, soname)
			if _, err := os.Stat(path); err == nil {
				found = append(found, path)
			}
		}
	}
	return found
}

// libraryFolders lists where toolkits and Python's wheels put libraries, and the loader does not look.
func libraryFolders() []string {
	patterns := []string{}
	for _, root := range []string{os.Getenv("CUDA_HOME"), os.Getenv("CUDA_PATH"), "/usr/local/cuda", "/opt/cuda"} {
		if root != "" {
			patterns = append(patterns, filepath.Join(root, "lib64"), filepath.Join(root, "targets/*/lib"))
		}
	}
	patterns = append(patterns, "/usr/local/cuda-*/lib64", "/usr/local/cuda-*/targets/*/lib")
	for _, venv := range []string{os.Getenv("VIRTUAL_ENV"), os.Getenv("CONDA_PREFIX"), ".venv", "/usr/local"} {
		if venv != "" {
			patterns = append(patterns,
				filepath.Join(venv, "lib/python3*/site-packages/nvidia/*/lib"),
				filepath.Join(venv, "lib/python3*/dist-packages/nvidia/*/lib"))
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		patterns = append(patterns, filepath.Join(home, ".local/lib/python3*/site-packages/nvidia/*/lib"))
	}
	var folders []string
	for _, p := range patterns {
		matches, _ := filepath.Glob(p) // a bad pattern is a folder with brackets in its name: not there
		slices.Reverse(matches)        // newer versions first
		folders = append(folders, matches...)
	}
	return folders
}
