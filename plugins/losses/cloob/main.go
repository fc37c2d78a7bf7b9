// Command cloob is the loss plugin losses/cloob: InfoLOOB on embeddings retrieved from Hopfield networks.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
