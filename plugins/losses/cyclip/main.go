// Command cyclip is the loss plugin losses/cyclip: the contrastive loss with cyclic consistency.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
