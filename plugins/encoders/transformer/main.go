// Command transformer is CLIP's text encoder.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeEncoder(Plugin) }
