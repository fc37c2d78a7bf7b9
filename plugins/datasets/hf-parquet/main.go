// Command hf-parquet is the dataset plugin datasets/hf-parquet: Parquet files with the pictures in them, as Hugging Face's
// datasets writes them.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeDataset(Plugin) }
