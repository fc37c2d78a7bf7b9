// Command resnet-attnpool is CLIP's modified ResNet image encoder.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeEncoder(Plugin) }
