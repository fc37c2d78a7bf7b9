// Command csv is the dataset plugin datasets/csv: a CSV or TSV table with a column of picture files and
// one or more columns of captions.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
