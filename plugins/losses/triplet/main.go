// Command triplet is the loss plugin losses/triplet: the triplet loss with hard negatives.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeLoss(Plugin) }
