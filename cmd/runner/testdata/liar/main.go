// Command liar is a loss and a dataset, by the name that it is called by, that break one rule each when they are told to.
// Tests of the runner build it.
package main

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/plugin/sdk"
	"tandem/core/tensor"
)

// build tells two builds apart; a test sets another.
var build = "1"

// Config describes the with block of both.
type Config struct {
	Fault string `with:"fault" help:"the rule to break"`
}

func main() {
	if strings.Contains(filepath.Base(os.Args[0]), "data") {
		sdk.ServeDataset(sdk.Dataset{Name: "liar-data", Version: "1.0.0", Summary: "grey squares", Config: Config{}, New: func() clip.Dataset { return &data{} }})
		return
	}
	sdk.ServeLoss(sdk.Loss{Name: "liar-loss", Version: "1.0.0", Summary: "mean distance of pairs", Config: Config{}, New: func() clip.Loss { return &loss{} }})
}

type loss struct {
	cfg   Config
	calls int
}

func (l *loss) Configure(_ context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	err := sdk.Decode(c.With, &l.cfg)
	info := clip.LossInfo{Backend: "go"}
	switch l.cfg.Fault {
	case "params":
		info.Parameters = -7
	case "fewer": // are saved
		info.Parameters = 1000
	}
	return info, err
}

// Compute returns half the mean squared distance of pairs.
func (l *loss) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	if l.calls++; l.calls == 3 {
		switch l.cfg.Fault {
		case "hang":
			time.Sleep(time.Hour)
		case "child": // leaves the group and the environment's session
			cmd := exec.Command("sleep", "3141.59")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				return nil, err
			}
		case "children":
			for range 30 {
				cmd := exec.Command("sleep", "3141.59")
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				if err := cmd.Start(); err != nil {
					return nil, err
				}
			}
		case "exit0":
			os.Exit(0)
		case "panic":
			panic("as asked")
		case "crash": // where nobody catches it
			go panic("as asked")
			time.Sleep(time.Hour)
		case "flood":
			line := []byte(strings.Repeat("flood ", 20) + "\n")
			for range 4 << 20 / len(line) {
				_, _ = os.Stderr.Write(line)
			}
		case "overwrite":
			clear(q.Image.Data)
		case "outside": // behind its slot
			behind := unsafe.Slice(&q.Image.Data[0], len(q.Image.Data)+32)[len(q.Image.Data):]
			for i := range behind {
				behind[i]++
			}
		case "replace": // this program's file by the one beside it
			path := os.Args[0]
			if _, err := os.Stat(path + ".next"); err == nil {
				if err := os.Rename(path+".next", path); err != nil {
					return nil, err
				}
			}
		}
	}
	n := q.Image.Shape[0]
	number, _ := strconv.Atoi(build)
	r := &clip.LossResult{Parts: map[string]float64{"distance": 0}, Scalars: map[string]float64{"build": float64(number)}}
	r.DImage, r.DText = tensor.New(tensor.F32, q.Image.Shape...), tensor.New(tensor.F32, q.Text.Shape...)
	for i, v := range q.Image.F32() {
		d := v - q.Text.F32()[i]
		r.Value += float64(d) * float64(d) / float64(2*n)
		r.DImage.F32()[i], r.DText.F32()[i] = d/float32(n), -d/float32(n)
	}
	r.Parts["distance"] = r.Value
	if l.cfg.Fault == "shape" && l.calls == 3 {
		r.DImage = tensor.New(tensor.F32, n+1, q.Image.Shape[1])
	}
	if l.cfg.Fault == "nan" && l.calls == 3 {
		r.DImage.F32()[1] = float32(math.NaN())
	}
	return r, nil
}

func (l *loss) GradNorm(context.Context) (float64, error)         { return 0, nil }
func (l *loss) Step(context.Context, int, float64, float64) error { return nil }
func (l *loss) Close() error                                      { return nil }

func (l *loss) Save(_ context.Context, path string) error {
	switch l.cfg.Fault {
	case "save-nothing":
		return nil
	case "save-garbage":
		return os.WriteFile(path, []byte("garbage"), 0o644)
	}
	return weights.Write(path, nil, nil)
}

func (l *loss) Load(_ context.Context, path string) error {
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

const samples, classes = 48, 4

type data struct {
	cfg   Config
	size  int
	calls atomic.Int64
}

func (d *data) Configure(_ context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	err := sdk.Decode(c.With, &d.cfg)
	d.size = c.ImageSize
	info := clip.DatasetInfo{Len: samples, Digest: "liar-1", Targets: []clip.Target{{Name: "class", Classes: []string{"a", "b", "c", "d"}}}}
	if d.cfg.Fault == "length" {
		info.Len = -1
	}
	return info, err
}

func (d *data) Batch(_ context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	calls := d.calls.Add(1)
	lie := ""
	if calls >= 3 { // after the first batch and its sample that is read again
		lie = d.cfg.Fault
	}
	if lie == "hang" {
		time.Sleep(time.Hour)
	}
	b := &clip.Batch{Images: q.Into, Labels: map[string][]int32{}}
	if b.Images == nil {
		b.Images = tensor.New(tensor.U8, len(q.Indices), d.size, d.size, 3)
	}
	each := 3 * d.size * d.size
	for at, i := range q.Indices {
		picture := b.Images.Data[at*each:][:each]
		for k := range picture {
			picture[k] = byte(i * 5)
		}
		if lie == "random" {
			binary.LittleEndian.PutUint64(picture, uint64(time.Now().UnixNano()))
		}
		class := i % classes
		b.Captions, b.Keys = append(b.Captions, "class "+strconv.Itoa(class)), append(b.Keys, "grey/"+strconv.Itoa(i))
		b.Groups, b.Labels["class"] = append(b.Groups, int64(class)), append(b.Labels["class"], int32(class))
		if !q.Train {
			b.All = append(b.All, []string{b.Captions[at]})
		}
	}
	switch lie {
	case "label":
		b.Labels["class"][0] = 12345
	case "captions":
		b.Captions = b.Captions[1:]
	case "keys":
		for i := range b.Keys {
			b.Keys[i] = "same"
		}
	}
	return b, nil
}

func (d *data) Captions(context.Context, int) ([]string, error) {
	return []string{"class 0", "class 1", "class 2", "class 3"}, nil
}

func (d *data) Close() error { return nil }
