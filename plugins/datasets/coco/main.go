// Command coco is the dataset plugin datasets/coco: the captions of COCO and the files of Karpathy's splits of COCO, Flickr30k and
// Flickr8k, beside folders of pictures.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
