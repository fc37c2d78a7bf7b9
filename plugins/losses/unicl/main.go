// Command unicl is the loss plugin losses/unicl: the contrastive loss of groups.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
