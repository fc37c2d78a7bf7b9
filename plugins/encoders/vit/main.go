// Command vit is the Vision Transformer image encoder.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeEncoder(Plugin) }
