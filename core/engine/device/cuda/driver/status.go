//go:build clipcuda

package driver

// #include "symbols.h"
import "C"

import (
	"fmt"
	"reflect"

	"tandem/core/fault"
)

// status holds a CUresult that is not success.
type status int

// The statuses that are told apart.
const (
	outOfMemory    status = 2
	stubLibrary    status = 34
	unavailable    status = 46
	noDevice       status = 100
	invalidDevice  status = 101
	noBinary       status = 209
	invalidPTX     status = 218
	noCompiler     status = 221
	unsupportedPTX status = 222
	notReady       status = 600
	illegalAddress status = 700
	launchTimeout  status = 702
	hardwareStack  status = 714
	launchFailed   status = 719
	notPermitted   status = 800
	notSupported   status = 801
	systemNotReady status = 802
	driverMismatch status = 803
	compatUnfit    status = 804
	unknown        status = 999
)

func (s status) Error() string { return C.GoString(C.tandem_error_name(C.int(s))) }

// statusOf returns the status that an error of cu or of symbols.c carries; cu does not export its type.
func statusOf(err error) (status, bool) {
	v := reflect.ValueOf(err)
	if !v.IsValid() || v.Kind() != reflect.Int {
		return 0, false
	}
	return status(v.Int()), true
}

// result returns the error of a CUresult; nil for success.
func result(code C.int) error {
	if code == 0 {
		return nil
	}
	return status(code)
}

// callError makes an error of a failed call; nil stays nil.
func callError(op string, err error) error {
	if err == nil {
		return nil
	}
	s, ok := statusOf(err)
	if !ok {
		return fault.New(fault.Internal, "%w", err).WithOp(op)
	}
	e := &fault.Error{Kind: fault.Internal, Op: op, Msg: s.Error(), Err: err}
	if text := C.GoString(C.tandem_error_text(C.int(s))); text != "" {
		e.Msg = fmt.Sprintf("%s (%d): %s", s, int(s), text)
	}
	switch known, ok := remedies[s]; {
	case ok:
		e.Kind, e.Hint = known.kind, known.hint
	case s >= hardwareStack && s <= launchFailed || s == illegalAddress:
		e.Hint = "a kernel did it, maybe one before: CUDA_LAUNCH_BLOCKING=1 has the error at its launch, compute-sanitizer names its line"
	}
	return e
}

// remedies lists the statuses that mean more than a bug.
var remedies = map[status]struct {
	kind fault.Kind
	hint string
}{
	outOfMemory:    {fault.Exhausted, "train.micro_batch_size and train.activation_checkpointing need less; nvidia-smi shows who else uses the GPU"},
	stubLibrary:    {fault.Unavailable, "libcuda.so.1 is the toolkit's stub; install the NVIDIA driver, or remove the stubs' folder from LD_LIBRARY_PATH"},
	unavailable:    {fault.Unavailable, "another process has the GPU for itself: see nvidia-smi, and its compute mode (nvidia-smi -q -d COMPUTE)"},
	noDevice:       {fault.Unavailable, "the driver sees no GPU: see nvidia-smi, CUDA_VISIBLE_DEVICES, and --gpus all where this is a container"},
	invalidDevice:  {fault.Unavailable, "runner devices lists the GPUs that there are"},
	noBinary:       {fault.Unavailable, "the kernels need compute capability 7.0 (Volta) or newer"},
	invalidPTX:     {fault.Unavailable, "the driver cannot compile the kernels: update the NVIDIA driver (CUDA 11.8 or newer)"},
	noCompiler:     {fault.Unavailable, "libnvidia-ptxjitcompiler.so is missing: it belongs to the NVIDIA driver"},
	unsupportedPTX: {fault.Unavailable, "the driver is older than the kernels: update the NVIDIA driver (CUDA 11.8 or newer)"},
	notSupported:   {fault.Unavailable, "this driver or GPU lacks it: update the NVIDIA driver"},
	notPermitted:   {fault.Unavailable, "the system does not permit it: see the container's limits (ulimit -l, --ipc, --ulimit memlock)"},
	systemNotReady: {fault.Unavailable, "the NVIDIA services are not up: see nvidia-smi and, on NVSwitch machines, nvidia-fabricmanager"},
	driverMismatch: {fault.Unavailable, "the kernel module and libcuda.so.1 are of different drivers: restart the machine, or the container"},
	compatUnfit:    {fault.Unavailable, "the forward compatibility package does not support this GPU: remove it from LD_LIBRARY_PATH"},
	launchTimeout:  {fault.Unavailable, "the GPU also drives a screen, and the system ends kernels that keep it waiting: use another GPU"},
	unknown:        {fault.Unavailable, "the driver does not say why: see nvidia-smi and dmesg; nvidia-modprobe -u -c=0 makes missing device files"},
}
