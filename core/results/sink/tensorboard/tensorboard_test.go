package tensorboard

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tandem/core/clip"
	"tandem/core/results/sink"
)

var at = time.UnixMicro(1_700_000_000_250_000)

// The bytes are those that TensorBoard's own protobuf classes and checksums give for the same values (tools/trackers/golden.py).
func TestBytesAreThoseOfTensorBoard(t *testing.T) {
	scalars, _ := appendScalars(nil, nil, at, 7, []clip.Metric{{Name: "train/loss", Value: 0.1}, {Name: "eval/ü", Value: math.Inf(1)}})
	for name, data := range map[string][]byte{
		"version": appendVersion(nil, at), "start": appendStart(nil, at, 41), "scalars": scalars,
		"text":    appendPlugin(nil, at, 0, "spec", "text", nil, textTensor("    a: 1")),
		"hparams": appendPlugin(nil, at, 0, "_hparams_/session_start_info", "hparams", sessionStart(map[string]any{"a.b": int64(3), "on": true, "s": "x", "list": []any{"p", int64(2)}}, "id", at), emptyTensor()),
		"end":     appendPlugin(nil, at, 0, "_hparams_/session_end_info", "hparams", sessionEnd(clip.StatusDone, at), emptyTensor()),
	} {
		want, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(appendRecord(nil, data)); got != strings.TrimSpace(string(want)) {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
}

// event is what the tests look at of an Event.
type event struct {
	step   int64
	start  bool
	tags   []string
	values []float32
}

// read decodes the files of a folder in the order of their names, and checks every checksum.
func read(t *testing.T, dir string) (events []event) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for {
			head := make([]byte, 12)
			if _, err := io.ReadFull(file, head); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, binary.LittleEndian.Uint64(head)+4)
			if _, err := io.ReadFull(file, data); err != nil {
				t.Fatal(err)
			}
			body := data[:len(data)-4]
			if binary.LittleEndian.Uint32(head[8:]) != masked(head[:8]) || binary.LittleEndian.Uint32(data[len(body):]) != masked(body) {
				t.Fatalf("%s: a checksum is wrong", name)
			}
			events = append(events, decode(t, body))
		}
	}
	return events
}

// fields calls f for each field of a message.
func fields(t *testing.T, b []byte, f func(n protowire.Number, number uint64, data []byte)) {
	t.Helper()
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		b = b[size:]
		var number uint64
		var data []byte
		switch kind {
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, size = protowire.ConsumeFixed64(b)
		default:
			var v uint32
			v, size = protowire.ConsumeFixed32(b)
			number = uint64(v)
		}
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		b = b[size:]
		f(n, number, data)
	}
}

func decode(t *testing.T, body []byte) (e event) {
	fields(t, body, func(n protowire.Number, number uint64, data []byte) {
		switch n {
		case 2:
			e.step = int64(number)
		case 7:
			e.start = true
		case 5:
			fields(t, data, func(_ protowire.Number, _ uint64, value []byte) {
				fields(t, value, func(n protowire.Number, number uint64, data []byte) {
					switch n {
					case 1:
						e.tags = append(e.tags, string(data))
					case 2:
						e.values = append(e.values, math.Float32frombits(uint32(number)))
					}
				})
			})
		}
	})
	return e
}

func write(t *testing.T, root string, r sink.Run, from, to int) {
	t.Helper()
	w := New(root)
	newest, err := w.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := newest("train/loss"); got != from-1 && r.From >= 0 {
		t.Errorf("the newest step is %d, want %d", got, from-1)
	}
	for step := from; step <= to; step++ {
		values := []clip.Metric{{Name: "train/loss", Value: float64(step)}, {Name: "<b>\x1b[31m\xff", Value: math.NaN()}}
		if err := w.Write(t.Context(), []sink.Points{{At: at, Step: step, Values: values}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(t.Context(), sink.End{Status: clip.StatusDone, At: at}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestARunThatGoesOnVoidsWhatIsBeyondItsCheckpoint(t *testing.T) {
	root := t.TempDir()
	r := sink.Run{ID: "0abcdefgh1", Experiment: "x", Variant: "loss=clip", Seed: 3, From: -1}
	dir := Dir(root, r)
	if want := filepath.Join(root, "x", "loss=clip-seed3-0abcdefgh1"); dir != want {
		t.Errorf("the folder is %s, want %s", dir, want)
	}
	write(t, root, r, 1, 9)
	r.From = 4
	write(t, root, r, 5, 6)
	r.From = -1
	write(t, root, r, 1, 2)
	var starts, steps []int64
	for _, e := range read(t, dir) {
		if e.start {
			starts = append(starts, e.step)
		}
		if len(e.tags) == 2 {
			steps = append(steps, e.step)
			if e.tags[0] != "train/loss" || e.values[0] != float32(e.step) || e.tags[1] != "<b>\x1b[31m�" || !math.IsNaN(float64(e.values[1])) {
				t.Errorf("step %d is %q %v", e.step, e.tags, e.values)
			}
		}
	}
	if len(starts) != 2 || starts[0] != 5 || starts[1] != 0 || len(steps) != 9+2+2 {
		t.Errorf("sessions start at %v, steps are %v", starts, steps)
	}
}

// A full disk may take a part of a record. What follows must be readable all the same.
func TestAFailedWriteLeavesNoHalfRecord(t *testing.T) {
	root := t.TempDir()
	r := sink.Run{ID: "0abcdefgh1", Experiment: "x", From: -1}
	w := New(root)
	if _, err := w.Open(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	whole := w.file
	readOnly, err := os.Open(whole.Name())
	if err != nil {
		t.Fatal(err)
	}
	w.file = readOnly // takes nothing
	points := []sink.Points{{At: at, Step: 1, Values: []clip.Metric{{Name: "a", Value: 1}}}}
	if err := w.Write(t.Context(), points); err == nil {
		t.Fatal("a file that is open for reading takes points")
	}
	readOnly.Close()
	if _, err := whole.WriteAt([]byte("half"), w.size); err != nil { // and what a disk took of it
		t.Fatal(err)
	}
	w.file = whole
	if err := w.Write(t.Context(), points); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range read(t, Dir(root, r)) {
		if len(e.tags) == 1 && e.tags[0] == "a" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the point is there %d times", n)
	}
}

func TestLongVariantsGiveFoldersThatFileSystemsTake(t *testing.T) {
	root := t.TempDir()
	write(t, root, sink.Run{ID: "0abcdefgh1", Experiment: strings.Repeat("e", 100), Variant: strings.Repeat("v", 1000), From: -1}, 1, 1)
}
