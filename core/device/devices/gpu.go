package devices

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tandem/core/device"
	"tandem/core/fault"
)

// gpu is one NVIDIA GPU of this machine.
type gpu struct {
	number       int
	Name         string // NVIDIA H100 80GB HBM3
	Major, Minor int    // compute capability
	Total        int64  // bytes of memory
	Driver       string // driver 550.54, CUDA 12.4
	Why          string // it cannot be used; "" when it can
}

func (g gpu) device() string { return "cuda:" + strconv.Itoa(g.number) }

func (g gpu) detail() string {
	detail := fmt.Sprintf("%s, compute capability %d.%d, %.1f GiB, %s", g.Name, g.Major, g.Minor, float64(g.Total)/(1<<30), g.Driver)
	if g.Why != "" {
		return g.Why + " (" + detail + ")"
	}
	return detail
}

// cuda is set by the file that the build tag clipcuda adds.
var cuda struct {
	open func(n int, o Options) (device.Backend, error)
	// gpus are those of this machine; an error says why there are none: no driver, no GPU.
	gpus func() ([]gpu, error)
}

// howToGetCUDA is for builds without the tag clipcuda.
const howToGetCUDA = `make cuda, then make build TAGS="onednn libjpeg clipcuda", builds it in`

func noCUDA(name string) error {
	return fault.New(fault.Unavailable, "device %q: this program was built without CUDA", name).
		WithHint("device: cpu computes here; for a GPU, %s", howToGetCUDA)
}

// gpuNumber is N of cuda:N.
func gpuNumber(name string) (int, bool) {
	text, ok := strings.CutPrefix(name, "cuda:")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n >= 0
}

// checkGPU finds what keeps GPU n from computing in a precision.
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
			return fault.New(fault.Unavailable, "device cuda:%d: %s", n, g.Why).WithHint("use device: cpu or another GPU; `runner devices` lists them")
		case g.Major < 8 && (precision == "tf32" || precision == "bf16"):
			return fault.New(fault.Unavailable, "precision %s needs compute capability 8.0 (Ampere), and cuda:%d, %s, has %d.%d",
				precision, n, g.Name, g.Major, g.Minor).WithHint("precision: f32")
		}
		return nil
	}
	e := fault.New(fault.Unavailable, "device cuda:%d: this machine has %d GPUs", n, len(gpus))
	if len(gpus) == 0 {
		return e.WithHint("use device: cpu")
	}
	return e.WithHint("GPUs are cuda:0 to cuda:%d; `runner devices` lists them", len(gpus)-1)
}

// listGPUs is List of GPUs; of none, it says why.
func listGPUs() []Info {
	none := func(why string) []Info { return []Info{{Name: "cuda:0", Detail: why}} }
	if cuda.gpus == nil {
		return none("built without CUDA: " + howToGetCUDA)
	}
	gpus, err := cuda.gpus()
	if err != nil {
		why := err.Error()
		if f := (*fault.Error)(nil); errors.As(err, &f) && f.Hint != "" {
			why += ": " + f.Hint
		}
		return none(why)
	}
	if len(gpus) == 0 {
		return none("this machine has no NVIDIA GPU")
	}
	var list []Info
	for _, g := range gpus {
		list = append(list, Info{Name: g.device(), Available: g.Why == "", Detail: g.detail()})
	}
	return list
}
