package mpi

/*
#cgo CFLAGS: -O3 -std=c11
#cgo linux LDFLAGS: -ldl
#include <stdint.h>
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"tandem/core/fault"
)

// LibraryEnv names the shim's file where it is not beside the runner.
const LibraryEnv = "TANDEM_MPI"

// library is the name of the shim's file, which `make mpi` builds.
const library = "libtandem-mpi.so"

// remedy says how to get MPI and the shim.
const remedy = "apt-get install openmpi-bin libopenmpi-dev (or load your cluster's MPI module), then make mpi; $" + LibraryEnv + " names " + library + " where it is not beside the runner"

// findLibrary returns the shim's file.
func findLibrary() (string, error) {
	if named := os.Getenv(LibraryEnv); named != "" {
		return named, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fault.New(fault.Unavailable, "find %s: %w", library, err).WithHint(remedy)
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	beside := filepath.Dir(program)
	for _, path := range []string{filepath.Join(beside, library), filepath.Join(beside, "..", "lib", "tandem", library)} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fault.New(fault.Unavailable, "%s is not in %s", library, beside).WithHint(remedy)
}

// load opens the shim, and with it the MPI library.
func load() error {
	path, err := findLibrary()
	if err != nil {
		return err
	}
	file := C.CString(path)
	defer C.free(unsafe.Pointer(file))
	if failed := C.tandem_load(file); failed != nil {
		return fault.New(fault.Unavailable, "%s", C.GoString(failed)).WithHint(remedy)
	}
	return nil
}

// start calls MPI_Init_thread.
func start() (rank, size int, err error) {
	var r, n C.int32_t
	if code := C.tandem_start(&r, &n); code != 0 {
		return 0, 0, failure(code)
	}
	return int(r), int(n), nil
}

// finish calls MPI_Finalize.
func finish() error {
	if code := C.tandem_finish(); code != 0 {
		return failure(code)
	}
	return nil
}

// stop makes exchange return at once, now and from now on.
func stop() { C.tandem_stop() }

// part is where in a buffer a rank's bytes are.
type part struct{ offset, length int64 }

// exchange gives every other rank a part of send and gets a part of receive from each; none is longer than 2³¹−1. A patient one
// waits for ranks that come much later, and wakes up less often. It reports whether it was stopped.
func exchange(send []byte, sent []part, receive []byte, received []part, patient bool) (stopped bool, err error) {
	waits := C.int32_t(0)
	if patient {
		waits = 1
	}
	code := C.tandem_exchange(unsafe.Pointer(unsafe.SliceData(send)), (*C.int64_t)(unsafe.Pointer(&sent[0])),
		unsafe.Pointer(unsafe.SliceData(receive)), (*C.int64_t)(unsafe.Pointer(&received[0])), waits)
	switch code {
	case 0:
		return false, nil
	case C.TANDEM_STOPPED:
		return true, nil
	}
	return false, failure(code)
}

// allreduce is MPI's own sum.
func allreduce(values []float32) error {
	if code := C.tandem_allreduce((*C.float)(unsafe.SliceData(values)), C.int64_t(len(values))); code != 0 {
		return failure(code)
	}
	return nil
}

// failure says what a code of MPI means.
func failure(code C.int32_t) error {
	text := make([]byte, 4096)
	n := C.tandem_error(code, (*C.char)(unsafe.Pointer(&text[0])))
	return fault.New(fault.Unavailable, "MPI: %s (code %d)", text[:n], int(code))
}

// version returns the first line of what the MPI library says it is.
func version() string {
	text := make([]byte, 1<<14)
	n := C.tandem_version((*C.char)(unsafe.Pointer(&text[0])))
	first, _, _ := strings.Cut(string(text[:n]), "\n")
	return strings.TrimRight(first, "\x00")
}

// addUp writes the sums of what the ranks have into out, in their order: rank r has out's values themselves if r is rank, else len(out)
// values at r·len(out) of others. It returns the sum of the squares.
func addUp(out []float32, rank, size int, others []float32) float64 {
	if len(out) == 0 {
		return 0
	}
	return float64(C.tandem_add((*C.float)(&out[0]), C.int64_t(len(out)), C.int32_t(rank), C.int32_t(size), (*C.float)(unsafe.SliceData(others))))
}

// addUpInPlace writes the sums of what is at the addresses, n values each, in their order, to all of them. It returns the sum of the
// squares. The addresses are none of Go's memory.
func addUpInPlace(at []uintptr, n int) float64 {
	return float64(C.tandem_add_in_place((*C.uintptr_t)(unsafe.Pointer(&at[0])), C.int64_t(n), C.int32_t(len(at))))
}
