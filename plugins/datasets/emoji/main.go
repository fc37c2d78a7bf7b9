// Command emoji is the dataset plugin datasets/emoji: pictures of emoji in several vendors' styles
// with their names and tags as captions. 512 emoji in two styles are built in; emoji --get DIR fetches all.
package main

import (
	"os"

	"tandem/core/plugin/sdk"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == getFlag {
		os.Exit(getMain(os.Args[2], os.Stderr))
	}
	sdk.ServeDataset(Plugin)
}
