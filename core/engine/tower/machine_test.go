package tower

import (
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

func TestNetworksLargerThanTheMachineAreRefusedBeforeTheyAreMade(t *testing.T) {
	wanted := []clip.MemoryPart{{Name: "parameters", Bytes: 40 << 40}, {Name: "gradients", Bytes: 40 << 40}}
	if err := checkMemory(wanted, 16<<30); fault.KindOf(err) != fault.Exhausted || !strings.Contains(err.Error(), "with.width") || !strings.Contains(err.Error(), "16.0 GiB") {
		t.Errorf("%v", err)
	}
	if err := checkMemory(wanted, 80<<40); err != nil {
		t.Errorf("what fits: %v", err)
	}
}
