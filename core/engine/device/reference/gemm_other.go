//go:build !amd64

package reference

const fastGemm = false

func sgemm(bool, bool, int, int, int, float32, []float32, int, []float32, int, bool, []float32, int) {
	panic("device/host: no fast product on this architecture")
}
