// Command distill is the loss plugin losses/distill: the contrastive loss with what a teacher says.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
