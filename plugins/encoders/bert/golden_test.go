package main

import (
	"path/filepath"
	"testing"

	"tandem/core/engine/tower/towertest"
)

// Embeddings and the gradient of every parameter are those of transformers' BertModel and RobertaModel in OpenCLIP's
// HFTextEncoder.
func TestAgreesWithTransformers(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.safetensors")
	if len(files) < 3 {
		t.Fatal("golden files are missing")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { towertest.Golden(t, file, text) })
	}
}

// Tokens are transformers' last hidden states, projected as the embedding is.
func TestTokensAgreeWithTransformers(t *testing.T) { towertest.GoldenTokens(t, text) }
