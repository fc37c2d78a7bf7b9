// Command openclipart is the dataset plugin datasets/openclipart: the drawings of the Open Clip Art Library with their
// titles and keywords. openclipart --get DIR fetches them from Debian.
package main

import (
	"os"
	"regexp"

	"tandem/core/data/registry"
	"tandem/core/plugin/sdk"
)

// packages lists what the dataset reads.
var packages = []registry.Package{
	{Registry: registry.Debian, Name: "openclipart-png", Folder: "png", Below: "usr/share/openclipart/png", Proof: "animals", Want: regexp.MustCompile(`\.png$`)},
	{Registry: registry.Debian, Name: "openclipart-svg", Folder: "svg", Below: "usr/share/openclipart/svg", Proof: "animals", Want: regexp.MustCompile(`\.svg$`)},
}

func main() {
	if code, asked := registry.Main(os.Args, packages); asked {
		os.Exit(code)
	}
	sdk.ServeDataset(Plugin)
}
