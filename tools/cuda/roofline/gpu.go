package main

// gpu holds what a data sheet promises. Rates are dense: data sheets of Hopper print twice that, for matrices of
// which half is zero.
type gpu struct {
	Name       string
	F32        float64 // FLOP/s without tensor cores
	TF32, BF16 float64 // FLOP/s of tensor cores
	Bandwidth  float64 // bytes/s of its memory
	Memory     float64 // bytes
	Host       float64 // bytes/s from the host, one direction of PCIe
	Source     string
}

var gpus = []gpu{
	{"A100 SXM 80 GB", 19.5e12, 156e12, 312e12, 2.039e12, 80e9, 32e9,
		"NVIDIA A100 Tensor Core GPU data sheet (1758950-R4)"},
	{"H100 SXM", 67e12, 494.7e12, 989.4e12, 3.35e12, 80e9, 64e9,
		"NVIDIA H100 Tensor Core GPU data sheet"},
	{"H200 SXM", 67e12, 494.7e12, 989.4e12, 4.8e12, 141e9, 64e9,
		"NVIDIA H200 Tensor Core GPU data sheet"},
}

// Good kernels on large arrays reach these shares of the data sheet's figures. The shares are assumptions, of the
// size that is often seen; nothing was measured here.
const (
	reachedProducts  = .7  // matrix products of cuBLAS on tensor cores
	reachedBandwidth = .85 // memory
	reachedVector    = .5  // arithmetic of our own kernels outside tensor cores
	reachedTensor    = .4  // our own kernels on tensor cores (mma.sync)
)

// precision names what products and convolutions are computed in.
type precision int

const (
	f32 precision = iota
	tf32
	bf16
)

func (p precision) String() string { return [...]string{"f32", "TF32", "bf16"}[p] }

// peak returns the rate of products.
func (g gpu) peak(p precision) float64 { return [...]float64{g.F32, g.TF32, g.BF16}[p] }
