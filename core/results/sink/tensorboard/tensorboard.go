// Package tensorboard writes runs as event files, which TensorBoard reads: scalars under the names of the metrics, the settings for
// its HPARAMS page, the resolved spec as text.
//
// Values are float32 there, as all values of TensorBoard.
package tensorboard

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/sink"
)

// Writer writes a run into a folder of its own. It implements sink.Tracker.
type Writer struct {
	root string
	file *os.File
	size int64 // of what is whole in the file
	out  []byte
	data []byte
	part []byte
}

var _ sink.Tracker = (*Writer)(nil)

// New returns a writer of runs below the folder root: root/EXPERIMENT/RUN.
func New(root string) *Writer { return &Writer{root: root} }

// Dir returns the folder of a run below root. Its name is that which TensorBoard shows: variant, seed and id.
func Dir(root string, r sink.Run) string {
	const longest = 150 // bytes of a variant; file systems take names of 255
	variant := r.Variant
	if len(variant) > longest {
		variant = variant[:longest] + "…"
	}
	name := fmt.Sprintf("seed%d-%s", r.Seed, r.ID)
	if variant != "" {
		name = variant + "-" + name
	}
	return filepath.Join(root, r.Experiment, name)
}

// Open implements sink.Tracker: it begins a file. When the run goes on, the file says that what others hold beyond its checkpoint is void.
func (w *Writer) Open(_ context.Context, r sink.Run) (func(metric string) int, error) {
	dir := Dir(w.root, r)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diskFault(err)
	}
	now := time.Now()
	old, err := eventFiles(dir)
	if err != nil {
		return nil, diskFault(err)
	}
	newest := map[string]int{}
	for _, name := range old {
		if err := scan(name, newest); err != nil {
			return nil, diskFault(err)
		}
	}
	void(newest, r.From+1)
	file, err := create(dir, old, now)
	if err != nil {
		return nil, diskFault(err)
	}
	goesOn := len(old) > 0
	w.file, w.size, w.out = file, 0, w.out[:0]
	w.record(appendVersion(nil, now))
	if goesOn {
		w.record(appendStart(nil, now, r.From+1))
	}
	if !goesOn || r.From < 0 {
		w.record(appendPlugin(nil, now, 0, "_hparams_/session_start_info", "hparams", sessionStart(r.Params, r.ID, now), emptyTensor()))
		w.record(appendPlugin(nil, now, 0, "spec", "text", nil, textTensor(indented(r.Spec))))
	}
	if err := w.flush(); err != nil {
		name := file.Name()
		_, _ = file.Close(), os.Remove(name) // another is begun at the next attempt
		w.file = nil
		return nil, err
	}
	of := sink.Newest(newest)
	return func(metric string) int { return of(strings.ToValidUTF8(metric, "�")) }, nil
}

// prefix begins the names of event files.
const prefix = "events.out.tfevents."

// eventFiles returns the event files of a folder in the order in which TensorBoard reads them.
func eventFiles(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

// create makes an event file whose name sorts after the old ones.
func create(dir string, old []string, now time.Time) (*os.File, error) {
	second := now.Unix()
	for _, name := range old {
		rest := strings.TrimPrefix(filepath.Base(name), prefix)
		digits, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n < 1e10 {
			second = max(second, n+1)
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	name := fmt.Sprintf(prefix+"%010d.%s.%d.0", second, host, os.Getpid())
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
}

// Write implements sink.Tracker.
func (w *Writer) Write(_ context.Context, points []sink.Points) error {
	w.out = w.out[:0]
	for _, p := range points {
		w.data, w.part = appendScalars(w.data[:0], w.part, p.At, p.Step, p.Values)
		w.record(w.data)
	}
	return w.flush()
}

// End implements sink.Tracker.
func (w *Writer) End(_ context.Context, e sink.End) error {
	w.out = w.out[:0]
	if e.Status != clip.StatusInterrupted { // it will go on
		w.record(appendPlugin(nil, e.At, 0, "_hparams_/session_end_info", "hparams", sessionEnd(e.Status, e.At), emptyTensor()))
	}
	return w.flush()
}

// Close implements sink.Tracker.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	return diskFault(w.file.Close())
}

// record adds an Event to what flush writes.
func (w *Writer) record(event []byte) { w.out = appendRecord(w.out, event) }

// flush writes to the file. After an error the file is as it was: readers stop for good at a record that is cut short.
func (w *Writer) flush() error {
	n, err := w.file.WriteAt(w.out, w.size)
	if err != nil {
		if n > 0 {
			_ = w.file.Truncate(w.size) // the next attempt writes at the same place
		}
		return diskFault(err)
	}
	w.size += int64(n)
	w.out = w.out[:0]
	return nil
}

// diskFault says that a file cannot be written.
func diskFault(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Exhausted, "%w", err).WithHint("is the disk full, and may you write there?")
}

// indented writes a text as the Markdown of a block of code, whatever is in it.
func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}
