package main

import (
	"path/filepath"
	"testing"

	"tandem/core/engine/tower/towertest"
)

// Embeddings, gradients of every parameter and running statistics are OpenCLIP's.
func TestAgreesWithOpenCLIP(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.safetensors")
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { towertest.Golden(t, file, vit) })
	}
}

// Tokens are OpenCLIP's, projected as the embedding is.
func TestTokensAgreeWithOpenCLIP(t *testing.T) { towertest.GoldenTokens(t, vit) }

// Learning rates and weight decays are those of open_clip's trainer, and layer decay is timm's.
func TestRatesAreOpenCLIPs(t *testing.T) { towertest.GoldenRates(t, "testdata/rates.json", vit) }

// Averaged weights are those of torch.optim.swa_utils.
func TestAveragesAreTorchs(t *testing.T) {
	towertest.GoldenAverage(t, "testdata/ema/vit.safetensors", vit)
}

// Adapters train as peft's do.
func TestAdaptersArePEFTs(t *testing.T) { towertest.GoldenLoRA(t, "testdata/lora/*.safetensors", vit) }

// Layer decay, groups, a late start and averages together are those of torch and timm.
func TestTuningIsTorchs(t *testing.T) {
	towertest.GoldenTuned(t, "testdata/tuned/vit.safetensors", vit)
}
