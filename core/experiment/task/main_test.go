package task

import (
	"testing"

	"tandem/core/experiment/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }
