// Command resnet-attnpool is CLIP's modified ResNet image encoder.
package main

import "tandem/core/sdk"

func main() { sdk.ServeEncoder(Plugin) }
