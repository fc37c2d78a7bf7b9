// Command emoji is the dataset plugin datasets/emoji: pictures of emoji in several vendors' styles
// with their names and tags as captions. 512 emoji in two styles are built in; emoji --get DIR fetches all in three.
package main

import (
	"os"

	"tandem/core/data/registry"
	"tandem/core/plugin/sdk"
)

func main() {
	if code, asked := registry.Main(os.Args, packages); asked {
		os.Exit(code)
	}
	sdk.ServeDataset(Plugin)
}
