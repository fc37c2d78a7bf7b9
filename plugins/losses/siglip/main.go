// Command siglip is the loss plugin losses/siglip: the pairwise sigmoid loss.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
