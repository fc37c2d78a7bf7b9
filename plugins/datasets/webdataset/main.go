// Command webdataset is the dataset plugin datasets/webdataset: tar shards of pictures, captions and labels, as Python's
// webdataset and img2dataset write them.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
