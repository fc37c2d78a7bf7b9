// Command slip is the loss plugin losses/slip: the contrastive loss with self-supervision of pictures.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
