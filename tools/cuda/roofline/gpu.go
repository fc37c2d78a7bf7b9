package main

// gpu holds the rates of a GPU, and which share of each is expected. Rates are dense: data sheets of Hopper print
// twice that, for matrices of which half is zero.
type gpu struct {
	Name       string
	F32        float64 // FLOP/s without tensor cores
	TF32, BF16 float64 // FLOP/s of tensor cores
	Bandwidth  float64 // bytes/s of its memory
	Memory     float64 // bytes
	Host       float64 // bytes/s from the host, one direction of PCIe
	Source     string
	Reached    shares
	Precisions []precision // those that the rates are known in
}

// shares says which parts of a GPU's rates good kernels are expected to reach on large arrays.
type shares struct {
	Products  float64 // matrix products of cuBLAS on tensor cores
	Bandwidth float64 // memory
	Vector    float64 // arithmetic of our own kernels outside tensor cores
	Tensor    float64 // our own kernels on tensor cores (mma.sync)
}

// ofSheet holds the shares of a data sheet's figures. They are assumptions, of the size that is often seen; nothing was
// measured here.
var ofSheet = shares{Products: .7, Bandwidth: .85, Vector: .5, Tensor: .4}

// ofMeasured holds the shares of rates that were measured, with large products and copies: 600 of 790 TFLOP/s in the
// products of a model, 4.0 of 4.3 TB/s. Kernels of ours are given what ofSheet gives them, 395 TFLOP/s on tensor cores.
// These are assumptions too.
var ofMeasured = shares{Products: 600. / 790, Bandwidth: 4.0 / 4.3, Vector: .5, Tensor: .5}

var precisions = []precision{f32, tf32, bf16}

var gpus = []gpu{
	{"A100 SXM 80 GB", 19.5e12, 156e12, 312e12, 2.039e12, 80e9, 32e9,
		"NVIDIA A100 Tensor Core GPU data sheet (1758950-R4)", ofSheet, precisions},
	{"H100 SXM", 67e12, 494.7e12, 989.4e12, 3.35e12, 80e9, 64e9,
		"NVIDIA H100 Tensor Core GPU data sheet", ofSheet, precisions},
	{"H200 SXM", 67e12, 494.7e12, 989.4e12, 4.8e12, 141e9, 64e9,
		"NVIDIA H200 Tensor Core GPU data sheet", ofSheet, precisions},
	{"H200 SXM, achieved", 67e12, 0, 790e12, 4.3e12, 141e9, 64e9,
		"bf16 and memory measured on an H200 by other programs than tandem; the rest by the data sheet", ofMeasured, []precision{bf16}},
}

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
