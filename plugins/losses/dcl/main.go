// Command dcl is the loss plugin losses/dcl: the decoupled contrastive loss.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
