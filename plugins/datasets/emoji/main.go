// Command emoji is the dataset plugin datasets/emoji: pictures of emoji in several vendors' styles
// with their names and tags as captions. 512 emoji in two styles are built in.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
