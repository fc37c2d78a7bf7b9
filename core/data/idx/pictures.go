package idx

import (
	"fmt"
	"os"
	"path/filepath"

	"tandem/core/fault"
	"tandem/core/media/vision"
)

// Pictures holds grey pictures of one size with a label each.
type Pictures struct {
	Root   string // the folder of their files
	N      int
	W, H   int
	Labels []byte
	Digest string // of the pictures

	pix        []byte
	labelsFile string
}

// Open reads a split, "train" or "test", from the first of the folders that has the file of its pictures: its name is
// train-images-idx3-ubyte, or t10k- for the test, perhaps with a dot for the second dash and perhaps gzipped. Without
// one it is fault.NotFound.
func Open(split string, folders ...string) (*Pictures, error) {
	prefix := map[string]string{"train": "train", "test": "t10k"}[split]
	images, err := find(folders, prefix+"-images", 3)
	if err != nil {
		return nil, err
	}
	root := filepath.Dir(images.File)
	labels, err := find([]string{root}, prefix+"-labels", 1)
	if err != nil {
		return nil, err
	}
	n := images.Shape[0]
	if n != labels.Shape[0] {
		return nil, fault.New(fault.Corrupt, "%d labels for %d pictures", labels.Shape[0], n).WithFile(labels.File, 0, 0)
	}
	return &Pictures{Root: root, N: n, W: images.Shape[2], H: images.Shape[1], Labels: labels.Data, Digest: images.Digest,
		pix: images.Data, labelsFile: labels.File}, nil
}

// First keeps only the first n pictures.
func (p *Pictures) First(n int) {
	p.N = min(p.N, n)
	p.Labels = p.Labels[:p.N]
}

// Check returns fault.Invalid when a label is none of so many classes.
func (p *Pictures) Check(classes int) error {
	for i, label := range p.Labels {
		if int(label) >= classes {
			return fault.New(fault.Invalid, "picture %d has label %d, classes has %d names", i, label, classes).
				WithPath("with.classes").WithFile(p.labelsFile, 0, 0)
		}
	}
	return nil
}

// Picture returns picture i in three equal channels.
func (p *Pictures) Picture(i int) vision.Picture {
	out := vision.NewPicture(p.W, p.H)
	for k, v := range p.pix[i*p.W*p.H:][:p.W*p.H] {
		out.Pix[3*k], out.Pix[3*k+1], out.Pix[3*k+2] = v, v, v
	}
	return out
}

// find reads the array that begins with stem from the first folder that has it.
func find(folders []string, stem string, axes int) (*Array, error) {
	name := fmt.Sprintf("%s-idx%d-ubyte", stem, axes)
	dotted := fmt.Sprintf("%s.idx%d-ubyte", stem, axes)
	for _, folder := range folders {
		for _, n := range []string{name, name + ".gz", dotted, dotted + ".gz"} {
			if _, err := os.Stat(filepath.Join(folder, n)); err == nil {
				return Read(filepath.Join(folder, n), axes)
			}
		}
	}
	root := folders[0]
	if _, err := os.Stat(root); err != nil {
		return nil, fault.New(fault.NotFound, "no such folder: %s", root).WithPath("with.root")
	}
	return nil, fault.New(fault.NotFound, "no %s or %s.gz in %s", name, name, root).WithPath("with.root")
}
