package tape

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/plugin/wire"
	"tandem/core/plugin/wire/pb"
)

// Options says how a tape is played.
type Options struct {
	Catalog   *catalog.Catalog
	Plugin    string // its path or name; "": the file that was recorded or, where it is gone, the plugin of its name
	Tolerance float64
	Played    func(calls int) // is told after every call; may be nil
}

// Result says how a plugin answered a tape.
type Result struct {
	Tape    Header       `json:"tape"`
	Plugin  string       `json:"plugin"`
	Version string       `json:"version"`
	SHA256  string       `json:"sha256"`
	Path    string       `json:"path"`
	Calls   int          `json:"calls"`  // played
	Differ  int          `json:"differ"` // of these, answered otherwise
	Cut     bool         `json:"cut"`    // the tape has no end: what there is was played
	Ended   string       `json:"ended"`  // why the rest was not played; "" when all was
	Methods []Method     `json:"methods"`
	First   *FirstUnlike `json:"first_difference"` // nil: there is none
}

// Same reports whether all calls of the tape were answered as before.
func (r *Result) Same() bool { return r.Differ == 0 && r.Ended == "" }

// FirstUnlike names the first answer that differs.
type FirstUnlike struct {
	Call   int    `json:"call"` // from 1
	Method string `json:"method"`
	Nth    int    `json:"nth"` // of the method's calls, from 1
	Difference
}

// Method sums the calls of a method up. Times are those of the plugin itself where it tells them, else what the caller waited.
type Method struct {
	Method   string        `json:"method"`
	Calls    int           `json:"calls"`
	Differ   int           `json:"differ"`
	Tape     time.Duration `json:"tape_ns"` // of all calls
	Now      time.Duration `json:"now_ns"`
	Elements int           `json:"elements"` // numbers that differ
	Most     float64       `json:"most"`     // the largest distance of two numbers
}

// unplayed lists the methods whose answers are no function of the calls before, or that end the plugin.
var unplayed = map[string]bool{"Describe": true, "Settle": true, "Profile": true, "Memory": true, "Plan": true, "Close": true}

// Play starts a plugin, makes the calls of a tape in their order, and compares the answers. Files are saved in a temporary
// folder, and loaded from there if the tape saved them before.
func Play(ctx context.Context, r *Reader, o Options) (*Result, error) {
	session, err := process.NewSession(process.SessionOptions{Catalog: o.Catalog})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	p, err := start(ctx, session, r.Header, o)
	if err != nil {
		return nil, err
	}
	dir, release, err := leftover.Dir("tandem-replay-")
	if err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	s := &player{process: p, dir: dir, tolerance: o.Tolerance, tickets: map[uint64]uint64{}, files: map[string]string{}, methods: map[string]*Method{},
		result: &Result{Tape: r.Header, Plugin: p.Name(), Version: p.Descriptor.Version, SHA256: p.Binary.SHA256, Path: p.Binary.Path}}
	for s.result.Ended == "" {
		c, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if s.result.Cut = errors.Is(err, ErrCut); s.result.Cut {
			break
		}
		if err == nil && !unplayed[path.Base(c.Method)] {
			err = s.play(ctx, c)
		}
		if err != nil {
			return nil, err
		}
		if o.Played != nil {
			o.Played(s.result.Calls)
		}
	}
	return s.result, nil
}

// start starts the plugin that a tape is played to.
func start(ctx context.Context, s *process.Session, h Header, o Options) (*process.Process, error) {
	ref := cmp.Or(o.Plugin, h.Plugin)
	if _, ok := o.Catalog.Dev[h.Plugin]; o.Plugin == "" && !ok && isFile(h.Path) {
		ref = h.Path
	}
	if _, err := os.Stat(ref); err == nil && o.Plugin != "" {
		if ref, err = filepath.Abs(ref); err != nil {
			return nil, fault.New(fault.NotFound, "%w", err)
		}
	}
	with := process.StartOptions{Label: h.Role, Threads: h.Threads, Python: h.Python}
	var p *process.Process
	var err error
	switch h.Kind {
	case clip.KindEncoder:
		_, p, err = s.StartEncoder(ctx, ref, with)
	case clip.KindLoss:
		_, p, err = s.StartLoss(ctx, ref, with)
	case clip.KindDataset:
		_, p, err = s.StartDataset(ctx, ref, with)
	default:
		err = fault.New(fault.Corrupt, "the tape is of the kind %q, which is none", h.Kind)
	}
	return p, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// player plays a tape to one plugin.
type player struct {
	process   *process.Process
	dir       string
	tolerance float64
	tickets   map[uint64]uint64 // of the plugin, by those on the tape
	files     map[string]string // where they are now, by their paths on the tape
	methods   map[string]*Method
	result    *Result
}

// play makes a call and compares its answer. The error is one of the tape or of this machine; those of the plugin are
// differences.
func (s *player) play(ctx context.Context, c *Call) error {
	name := path.Base(c.Method)
	m := s.methods[name]
	if m == nil {
		s.result.Methods = append(s.result.Methods, Method{Method: name})
		for i := range s.result.Methods { // they may have moved
			s.methods[s.result.Methods[i].Method] = &s.result.Methods[i]
		}
		m = s.methods[name]
	}
	q, saved, err := s.request(c)
	if err != nil {
		return err
	}
	answer, took, err := s.process.Repeat(ctx, c.Method, q)
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, "interrupted: %w", ctx.Err())
	}
	m.Calls++
	s.result.Calls++
	m.Tape += inside(c.Response, c.Took)
	m.Now += inside(answer, took)
	d := s.compare(c, answer, err, saved)
	if d != nil {
		m.Differ++
		m.Elements += d.Elements
		m.Most = max(m.Most, d.Most)
		s.result.Differ++
		if s.result.First == nil {
			s.result.First = &FirstUnlike{Call: c.Number, Method: name, Nth: m.Calls, Difference: *d}
		}
	}
	if err != nil && c.Failure == nil { // what comes after rests on it
		s.result.Ended = fmt.Sprintf("call %d, %s, failed: %s", c.Number, name, fault.Format(err))
	}
	return nil
}

// request returns a call's request with the tickets and the files of now. saved is the file that the call writes.
func (s *player) request(c *Call) (q proto.Message, saved string, err error) {
	q = proto.Clone(c.Request)
	m := q.ProtoReflect()
	if d := m.Descriptor().Fields().ByName("ticket"); d != nil {
		if now, known := s.tickets[m.Get(d).Uint()]; known {
			m.Set(d, protoreflect.ValueOfUint64(now))
		}
	}
	f, ok := q.(*pb.FileRequest)
	if !ok {
		return q, "", nil
	}
	if strings.HasSuffix(c.Method, "/Save") {
		saved = filepath.Join(s.dir, fmt.Sprintf("%d-%s", c.Number, filepath.Base(f.Path)))
		s.files[f.Path] = saved
		f.Path = saved
	} else if now, known := s.files[f.Path]; known {
		f.Path = now
	} else if _, err := os.Stat(f.Path); err != nil {
		return nil, "", fault.New(fault.NotFound, "call %d of the tape loads %s, which is not here", c.Number, f.Path).
			WithHint("put it back, or record a run that starts from nothing")
	}
	return q, saved, nil
}

// compare returns how a call was answered otherwise than on the tape; nil when it was not.
func (s *player) compare(c *Call, answer proto.Message, err error, saved string) *Difference {
	switch {
	case c.Failure != nil && err == nil:
		return &Difference{Field: "error", Tape: string(c.Failure.Kind) + ": " + c.Failure.Message, Now: "an answer"}
	case c.Failure != nil && fault.KindOf(err) != c.Failure.Kind:
		return &Difference{Field: "error", Tape: string(c.Failure.Kind) + ": " + c.Failure.Message, Now: string(fault.KindOf(err)) + ": " + err.Error()}
	case c.Failure != nil:
		return nil
	case err != nil:
		return &Difference{Field: "error", Tape: "an answer", Now: string(fault.KindOf(err)) + ": " + err.Error()}
	}
	fields := c.Response.ProtoReflect().Descriptor().Fields()
	if d := fields.ByName("ticket"); d != nil {
		s.tickets[c.Response.ProtoReflect().Get(d).Uint()] = answer.ProtoReflect().Get(d).Uint()
	}
	if d := Compare(c.Response, answer, s.tolerance); d != nil {
		return d
	}
	if saved != "" && s.tolerance == 0 {
		if digest, err := files.Digest(saved); err != nil || digest != c.Saved {
			return &Difference{Field: "the file that it saved", Tape: fmt.Sprintf("sha256 %.12s", c.Saved), Now: cmp.Or(text(err), fmt.Sprintf("sha256 %.12s", digest))}
		}
	}
	return nil
}

// inside returns how long a plugin says that a method took, or else how long the caller waited.
func inside(answer proto.Message, waited time.Duration) time.Duration {
	if t, ok := answer.(interface{ GetKernelNanos() int64 }); ok && answer != nil && t.GetKernelNanos() > 0 {
		return time.Duration(t.GetKernelNanos())
	}
	return waited
}

// savedPath returns the file that a call writes.
func savedPath(method string, request proto.Message) (path string, saves bool) {
	f, ok := request.(*pb.FileRequest)
	if !ok || !strings.HasSuffix(method, "/Save") {
		return "", false
	}
	return f.Path, true
}

// Tap returns what to tell w of: all calls but those that are never played.
func (w *Writer) Tap() func(wire.Heard) {
	return func(h wire.Heard) {
		if !unplayed[path.Base(h.Method)] {
			w.Add(h)
		}
	}
}
