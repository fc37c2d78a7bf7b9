// Command fashion-mnist is the dataset plugin datasets/fashion-mnist: Zalando's pictures of clothes, or
// any other set in MNIST's file format, with captions made from the class names.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
