package main

import (
	"testing"

	"tandem/core/engine/tower/towertest"
)

func TestStepOfViTB32(t *testing.T) {
	towertest.Shapes(t, "vit-b32.image", vit, `{"image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "head_width": 64}`, 512, 1024)
}
