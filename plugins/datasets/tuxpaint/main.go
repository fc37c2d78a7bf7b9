// Command tuxpaint is the dataset plugin datasets/tuxpaint: the stamps of Tux Paint, photographs cut out and drawings,
// with captions in English and many other languages. tuxpaint --get DIR fetches them from Debian.
package main

import (
	"os"
	"regexp"

	"tandem/core/data/registry"
	"tandem/core/plugin/sdk"
)

// packages lists what the dataset reads.
var packages = []registry.Package{{Registry: registry.Debian, Name: "tuxpaint-stamps-default", Folder: "stamps", Below: "usr/share/tuxpaint/stamps",
	Proof: "animals", Want: regexp.MustCompile(`\.(png|svg|txt)$`)}}

func main() {
	if code, asked := registry.Main(os.Args, packages); asked {
		os.Exit(code)
	}
	sdk.ServeDataset(Plugin)
}
