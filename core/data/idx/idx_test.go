package idx

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/fault"
)

// write puts an array of bytes into a file of a folder.
func write(t *testing.T, dir, name string, data []byte, axes ...int) {
	t.Helper()
	out := []byte{0, 0, 8, byte(len(axes))}
	for _, n := range axes {
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	if err := os.WriteFile(filepath.Join(dir, name), append(out, data...), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPicturesAreOfTheFirstFolderThatHasThem(t *testing.T) {
	empty, dir := t.TempDir(), t.TempDir()
	write(t, dir, "t10k-images.idx3-ubyte", []byte{1, 2, 3, 4, 5, 6, 7, 8}, 2, 1, 4)
	write(t, dir, "t10k-labels-idx1-ubyte", []byte{9, 3}, 2)
	p, err := Open("test", empty, dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.N != 2 || p.W != 4 || p.H != 1 || p.Root != dir || !slices.Equal(p.Labels, []byte{9, 3}) {
		t.Errorf("%+v", p)
	}
	if pic := p.Picture(1); !slices.Equal(pic.Pix, []byte{5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8}) {
		t.Errorf("pixels %v", pic.Pix)
	}
	if err := p.Check(9); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a label of no class: %v", err)
	}
	if p.First(1); p.N != 1 || p.Check(10) != nil || len(p.Labels) != 1 {
		t.Errorf("the first picture: %+v", p)
	}
	if _, err := Open("train", empty, dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the other split: %v", err)
	}
}

func TestLabelsOfOtherPicturesAreCorrupt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "train-images-idx3-ubyte", []byte{1, 2}, 2, 1, 1)
	write(t, dir, "train-labels-idx1-ubyte", []byte{0}, 1)
	if _, err := Open("train", dir); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("error %v", err)
	}
}
