// Command negclip is the loss plugin losses/negclip: the contrastive loss with hard texts.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
