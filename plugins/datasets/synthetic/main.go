// Command synthetic is the dataset plugin datasets/synthetic: scenes of coloured shapes with captions that say exactly what is
// where, drawn when they are asked for.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
