package devices

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// gpu describes one NVIDIA GPU of this machine.
type gpu struct {
	number       int
	Name         string // NVIDIA H100 80GB HBM3
	Major, Minor int    // compute capability
	Total        int64  // bytes of memory
	Driver       string // driver 550.54, CUDA 12.4
	Why          string // it cannot be used; "" when it can
	Hint         string // the remedy

	// What inspect finds.
	Free      int64  // bytes
	BLAS, DNN string // versions of cuBLAS and cuDNN; "" when missing
}

func (g gpu) device() string { return "cuda:" + strconv.Itoa(g.number) }

// detail describes the GPU on one line.
func (g gpu) detail() string {
	memory := fmt.Sprintf("%.1f GiB", gib(g.Total))
	if g.Free > 0 {
		memory = fmt.Sprintf("%.1f of %s free", gib(g.Free), memory)
	}
	parts := []string{g.Name, fmt.Sprintf("compute capability %d.%d", g.Major, g.Minor), memory, g.Driver}
	if g.BLAS != "" {
		parts = append(parts, "cuBLAS "+g.BLAS)
	}
	if g.DNN != "" {
		parts = append(parts, "cuDNN "+g.DNN)
	}
	detail := strings.Join(parts, ", ")
	if g.Why != "" {
		return g.Why + " (" + detail + ")"
	}
	return detail
}

// info returns the GPU for programs.
func (g gpu) info() *GPU {
	return &GPU{Name: g.Name, Capability: fmt.Sprintf("%d.%d", g.Major, g.Minor), TotalMemory: g.Total, FreeMemory: g.Free,
		Driver: g.Driver, BLAS: g.BLAS, DNN: g.DNN}
}

// remedy returns Hint, or else the advice to use another device.
func (g gpu) remedy() string {
	if g.Hint != "" {
		return g.Hint
	}
	return "use device: cpu or another GPU; `runner devices` lists them"
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

// cuda gives access to the CUDA backend; the file that the build tag clipcuda adds sets it.
var cuda struct {
	open func(n int, o Options) (device.Backend, error)
	// gpus are those of this machine, at least one; an error says why there are none: no driver, no GPU.
	gpus func() ([]gpu, error)
	// inspect looks into a GPU that can be used: it sets the fields that take a context of it, and Why.
	inspect func(*gpu)
	// group names a new group of GPUs of several processes.
	group func() ([]byte, error)
}

// howToGetCUDA advises those whose build lacks the tag clipcuda.
const howToGetCUDA = "make build CUDA=1 builds it in (the build tag clipcuda), on a machine with or without a GPU"

func noCUDA(name string) error {
	return fault.New(fault.Unavailable, "device %q: this program was built without CUDA", name).
		WithHint("device: cpu computes here; for a GPU, %s", howToGetCUDA)
}

// gpuNumber returns N of cuda:N.
func gpuNumber(name string) (int, bool) {
	text, ok := strings.CutPrefix(name, "cuda:")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n >= 0
}

// checkGPU reports what keeps GPU n from computing in a precision.
func checkGPU(n int, precision string) error {
	gpus, err := cuda.gpus()
	if err != nil {
		return err
	}
	for _, g := range gpus {
		switch {
		case g.number != n:
			continue
		case g.Why != "":
			return fault.New(fault.Unavailable, "device cuda:%d: %s", n, g.Why).WithHint("%s", g.remedy())
		case g.Major < 8 && (precision == "tf32" || precision == "bf16" || precision == "bf16-emulated"):
			return fault.New(fault.Unavailable, "precision %s needs compute capability 8.0 (Ampere), and cuda:%d, %s, has %d.%d",
				precision, n, g.Name, g.Major, g.Minor).WithHint("precision: f32")
		}
		return nil
	}
	e := fault.New(fault.Unavailable, "device cuda:%d: this machine has %d GPUs", n, len(gpus))
	switch len(gpus) {
	case 0:
		return e.WithHint("use device: cpu")
	case 1:
		return fault.New(fault.Unavailable, "device cuda:%d: this machine has one GPU", n).WithHint("device: cuda:0")
	}
	return e.WithHint("GPUs are cuda:0 to cuda:%d; `runner devices` lists them", len(gpus)-1)
}

// listGPUs lists the GPUs, after a look into each when inspect is set. Where there is none, the list says why.
func listGPUs(inspect bool) []Info {
	if cuda.gpus == nil {
		return []Info{{Name: "cuda:0", Detail: "built without CUDA", Hint: howToGetCUDA}}
	}
	gpus, err := cuda.gpus()
	if err != nil {
		none := Info{Name: "cuda:0", Detail: err.Error()}
		if f := (*fault.Error)(nil); errors.As(err, &f) {
			none.Hint = f.Hint
		}
		return []Info{none}
	}
	var list []Info
	for _, g := range gpus {
		if inspect && g.Why == "" {
			cuda.inspect(&g)
		}
		list = append(list, Info{Name: g.device(), Available: g.Why == "", Detail: g.detail(), Hint: g.Hint, GPU: g.info()})
	}
	return list
}
