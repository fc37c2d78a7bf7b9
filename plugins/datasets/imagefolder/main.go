// Command imagefolder is the dataset plugin datasets/imagefolder: a folder for each class, captions from
// templates over the class names or from text files beside the pictures.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
