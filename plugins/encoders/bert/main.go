// Command bert is the text encoder of BERT's family: MiniLM, BERT, RoBERTa.
package main

import "tandem/core/plugin/sdk"

func main() { sdk.ServeEncoder(Plugin) }
