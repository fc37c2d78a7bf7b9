// Command filip is the loss plugin losses/filip: the contrastive loss over tokens.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
