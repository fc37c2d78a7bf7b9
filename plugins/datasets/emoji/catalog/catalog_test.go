package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/core/fault"
)

func TestVariantsShareAnIdentity(t *testing.T) {
	for _, same := range [][]string{
		{"1F44B", "1F44B-1F3FB", "1F44B-1F3FF"},                                                 // waving hand, skin tones
		{"1F3C3", "1F3C3-200D-2640-FE0F", "1F3C3-1F3FD-200D-2642-FE0F", "1F3C3-200D-27A1-FE0F"}, // running
		{"1F9D1-200D-1F680", "1F468-200D-1F680", "1F469-1F3FE-200D-1F680"},                      // astronaut
		{"1F9D1", "1F468", "1F469", "1F469-200D-1F9B0", "1F9D1-1F3FB"},                          // person, hair
		{"1F466", "1F467", "1F9D2"},                                                             // child
		{"1F385", "1F936", "1F9D1-200D-1F384"},                                                  // Claus
		{"1F48F", "1F469-200D-2764-FE0F-200D-1F48B-200D-1F468"},                                 // kiss
		{"1F491", "1F468-200D-2764-FE0F-200D-1F468"},                                            // couple with heart
		{"1F46A", "1F468-200D-1F469-200D-1F466", "1F9D1-200D-1F9D2-200D-1F9D2"},                 // family
		{"1F46B", "1F46C", "1F9D1-200D-1F91D-200D-1F9D1"},                                       // holding hands
	} {
		for _, hex := range same[1:] {
			if Identity(hex) != Identity(same[0]) {
				t.Errorf("%s is %s, %s is %s", hex, Identity(hex), same[0], Identity(same[0]))
			}
		}
	}
}

func TestDifferentThingsKeepTheirIdentity(t *testing.T) {
	seen := map[string]string{}
	for _, hex := range []string{"1F600", "2764-FE0F", "1F48B", "1F9D1", "1F9D2", "1F91D", "1F46A", "1F46B",
		"2640-FE0F", "2642-FE0F", "27A1-FE0F", "0023-FE0F-20E3", "1F9D1-200D-1F680", "1F9D1-200D-1F692", "1F415", "1F415-200D-1F9BA", "2764-FE0F-200D-1F525"} {
		id := Identity(hex)
		if other, dup := seen[id]; dup {
			t.Errorf("%s and %s are both %s", hex, other, id)
		}
		seen[id] = hex
	}
}

func TestMissingAndBrokenPackagesSayHowToGetThem(t *testing.T) {
	root := t.TempDir()
	if _, err := Read(root); fault.KindOf(err) != fault.NotFound {
		t.Errorf("empty folder: %v", err)
	}
	dir := filepath.Join(root, "emojibase-data", "en")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data.json"), []byte("[{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(root); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("broken table: %v", err)
	}
}
