package main

// pack names a published archive that is fetched by its sum: a wheel of PyPI (.whl) or a package of Debian (.deb).
type pack struct {
	name   string   // what the command line calls it
	urls   []string // tried in order
	sha256 string
	files  []string // path patterns (see wanted) of what is unpacked; all when there are none
}

// packages lists what this program can fetch. `pip download --no-deps NAME==VERSION` and PyPI's page
// https://pypi.org/simple/NAME/ tell URL and sum of a wheel, `apt-get download --print-uris` those of a deb.
var packages = []pack{
	{
		name:   "runtime11", // cuda.h, which gorgonia.org/cu compiles against
		urls:   []string{"https://files.pythonhosted.org/packages/a6/ec/a540f28b31de7bc1ed49eecc72035d4cb77db88ead1d42f7bfa5ae407ac6/nvidia_cuda_runtime_cu11-11.8.89-py3-none-manylinux2014_x86_64.whl"},
		sha256: "92d04069a987e1fbc9213f8376d265df0f7bb42617d44f5eda1f496acea7f2d1",
	},
	{
		name:   "nvrtc11", // the compiler of the committed PTX
		urls:   []string{"https://files.pythonhosted.org/packages/60/44/202e027c224c26e15a53f01c5c7604c7f6b4fd368882d3164ea08fead207/nvidia_cuda_nvrtc_cu11-11.8.89-py3-none-manylinux2014_x86_64.whl"},
		sha256: "a8d02f3cba345be56b1ffc3e74d8f61f02bb758dd31b0f20e12277a5a244f756",
	},
	{
		name:   "nvcc11", // the headers crt/ that nvcc 11.8 needs
		urls:   []string{"https://files.pythonhosted.org/packages/fc/10/02e6a5a6864f41f9aa3c7c4d6953e49d71f58c0528d2f0a1eec1ad6c090e/nvidia_cuda_nvcc_cu11-11.8.89-py3-none-manylinux2014_x86_64.whl"},
		sha256: "f8e1e995166c884f2f5bf94975d7abb89175363b8712f7f81cd38d0df1b2cd85",
		files:  []string{"nvidia/cuda_nvcc/include"},
	},
	{
		name: "debnvcc11", // Debian's nvcc 11.8, from its component non-free
		urls: []string{
			"http://deb.debian.org/debian/pool/non-free/n/nvidia-cuda-toolkit/nvidia-cuda-toolkit_11.8.89~11.8.0-5~deb12u1_amd64.deb",
			"http://snapshot.debian.org/archive/debian/20250520T000000Z/pool/non-free/n/nvidia-cuda-toolkit/nvidia-cuda-toolkit_11.8.89~11.8.0-5~deb12u1_amd64.deb",
		},
		sha256: "d1156026e704fe0368b6295db06224ed00a727966fb13454f34e3f3102db0457",
		files:  []string{"usr/lib/nvidia-cuda-toolkit/bin", "usr/lib/nvidia-cuda-toolkit/libdevice", "usr/bin/cudafe++", "usr/bin/fatbinary", "usr/bin/ptxas"},
	},
	{
		name:   "nvrtc12", // the compiler library of CUDA 12.9
		urls:   []string{"https://files.pythonhosted.org/packages/b8/85/e4af82cc9202023862090bfca4ea827d533329e925c758f0cde964cb54b7/nvidia_cuda_nvrtc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl"},
		sha256: "210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4",
		files:  []string{"nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9"},
	},
	{
		name:   "nvcc12", // the assembler ptxas of CUDA 12.9
		urls:   []string{"https://files.pythonhosted.org/packages/25/48/b54a06168a2190572a312bfe4ce443687773eb61367ced31e064953dd2f7/nvidia_cuda_nvcc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl"},
		sha256: "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
		files:  []string{"nvidia/cuda_nvcc/bin/ptxas"},
	},
	{
		name:   "nvdisasm13", // the disassembler of CUDA 13, which reads the machine code of ptxas 12 too
		urls:   []string{"https://files.pythonhosted.org/packages/64/4a/c84a14209a549d97831a02d111d943f47c995d4d3beaa3416daa3b534abb/nvidia_cuda_nvdisasm-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"},
		sha256: "d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca",
		files:  []string{"nvidia/cu13/bin/nvdisasm"},
	},
	{
		name:   "nvcc13", // nvcc of CUDA 13, with crt13, nvvm13 and runtime13
		urls:   []string{"https://files.pythonhosted.org/packages/0b/7d/21c734e63423dc53fb1b1ebbb6dee84e9ccafbeeaa30e9ae07e6fdcdd15b/nvidia_cuda_nvcc-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"},
		sha256: "f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7",
		files:  []string{"nvidia/cu13/bin", "nvidia/cu13/include"},
	},
	{
		name:   "crt13",
		urls:   []string{"https://files.pythonhosted.org/packages/d5/ac/fb3ca43f437405ce33bfd8ba64503148fdc9198265f26f8ecd1bd6e76338/nvidia_cuda_crt-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"},
		sha256: "e898b7f73d3035fa89915a3f7bf3b54a73e90249746111aed295822c4729bb29",
	},
	{
		name:   "nvvm13",
		urls:   []string{"https://files.pythonhosted.org/packages/23/dc/c7089283bad8e8089825b0cae0898f8a89b5d27bdb2edea5266d259101e1/nvidia_nvvm-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl"},
		sha256: "c41bfa362e407405163f103c2229f0765f8cc2ed7d148b754dc77f228bf7e070",
		files:  []string{"nvidia/cu13/nvvm/bin", "nvidia/cu13/nvvm/libdevice"},
	},
	{
		name:   "runtime13",
		urls:   []string{"https://files.pythonhosted.org/packages/0b/7c/14b8f5518f8951e9dca57ea80f44f8ea8bcc8671812e6cc38009f3205e57/nvidia_cuda_runtime-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"},
		sha256: "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
		files:  []string{"nvidia/cu13/include"},
	},
}

// find returns the package of a name.
func find(name string) (pack, bool) {
	for _, p := range packages {
		if p.name == name {
			return p, true
		}
	}
	return pack{}, false
}
