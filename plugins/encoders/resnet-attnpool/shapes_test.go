package main

import (
	"testing"

	"tandem/core/engine/tower/towertest"
)

func TestStepOfRN50(t *testing.T) {
	towertest.Shapes(t, "rn50.image", resnet, `{"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}`, 1024, 1024)
}
