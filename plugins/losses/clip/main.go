// Command clip is the loss plugin losses/clip: CLIP's symmetric contrastive loss.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
