package main

import (
	"testing"

	"tandem/core/engine/tower/towertest"
)

const published = `{"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "tokenizer": "byte"}`

func TestStepOfViTB32(t *testing.T) { towertest.Shapes(t, "vit-b32.text", text, published, 512, 1024) }

func TestStepOfRN50(t *testing.T) { towertest.Shapes(t, "rn50.text", text, published, 1024, 1024) }
