//go:build clipcuda

package driver

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/core/fault"
)

func TestWithoutADriverTheRemedyIsTold(t *testing.T) {
	broken := t.TempDir() // which a machine's own driver cannot mend
	must(t, os.WriteFile(filepath.Join(broken, "libcuda.so.1"), []byte("not a library"), 0o666))
	if alone(t, "LD_LIBRARY_PATH="+broken) {
		_, err := Open(0)
		refused(t, err, fault.Unavailable, "no NVIDIA driver: ", "libcuda.so.1", "install the NVIDIA driver")
	}
}

func TestAFailureToStartIsTold(t *testing.T) {
	double(t)
	for status, words := range map[string][]string{
		"100": {"CUDA_ERROR_NO_DEVICE (100)", "CUDA_VISIBLE_DEVICES"},
		"803": {"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)", "restart the machine"},
		"999": {"CUDA_ERROR_UNKNOWN (999)", "dmesg"},
		"34":  {"stub"},
	} {
		t.Run(status, func(t *testing.T) {
			if alone(t, "TANDEM_CUDA_DOUBLE_INIT="+status) {
				for range 2 { // the second is no better than the first
					_, err := Count()
					refused(t, err, fault.Unavailable, append(words, "cuInit")...)
				}
			}
		})
	}
}

func TestAMachineMayHaveNoDevice(t *testing.T) {
	double(t)
	if alone(t, "TANDEM_CUDA_DOUBLE_DEVICES=0") {
		_, err := Devices()
		refused(t, err, fault.Unavailable, "CUDA_ERROR_NO_DEVICE", "nvidia-smi")
	}
}

func TestOldDevicesAreListedAndRefused(t *testing.T) {
	double(t)
	if alone(t, "TANDEM_CUDA_DOUBLE_DEVICES=2", "TANDEM_CUDA_DOUBLE_CAPABILITY=6.1") {
		list, err := Devices()
		must(t, err)
		if len(list) != 2 || list[1].N != 1 || list[1].Capability != 61 {
			t.Errorf("got %+v", list)
		}
		_, err = Open(1)
		for _, err := range []error{err, list[1].Why} {
			refused(t, err, fault.Unavailable, "cuda:1", "capability 6.1", "7.0 (Volta)")
		}
	}
}

func TestDevicesAreNumbered(t *testing.T) {
	c := open(t)
	for _, n := range []int{-1, 1 << 20} {
		_, err := Open(n)
		refused(t, err, fault.Unavailable, "there is no such GPU", "runner devices")
	}
	p := c.Properties()
	free, total, err := c.MemInfo()
	must(t, err)
	if p.String() != "cuda:0" || p.Name == "" || p.Capability < Oldest || p.Multiprocessors < 1 || p.SharedPerBlock < 48<<10 ||
		p.TotalMemory < 1<<20 || free > total || free <= 0 {
		t.Errorf("%+v, %d of %d bytes free", p, free, total)
	}
}

func TestAClosedContextRefuses(t *testing.T) {
	open(t)
	c, err := Open(0) // the same context, held twice
	must(t, err)
	must(t, c.Close())
	_, err = c.Alloc(4)
	refused(t, err, fault.Internal, "cuda:0: ", "closed")
}
