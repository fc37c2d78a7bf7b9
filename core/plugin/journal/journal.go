// Package journal keeps what plugins write to stderr as records, each a line of JSON: when it came, how grave it is, who
// wrote it. A journal is bounded. Others read it, also while it is written.
package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The levels of records.
const (
	Debug = "debug"
	Info  = "info"
	Warn  = "warn"
	Error = "error"
)

// Levels lists the levels, the least grave first.
var Levels = []string{Debug, Info, Warn, Error}

// DefaultLimit bounds a journal in bytes where nobody says otherwise.
const DefaultLimit = 5 << 20

// maxLine limits the length of a line in bytes; a longer one becomes several records.
const maxLine = 16 << 10

// Record holds a line that a plugin wrote.
type Record struct {
	Time    time.Time      `json:"time"`
	Level   string         `json:"level"`
	Plugin  string         `json:"plugin,omitempty"` // losses/clip
	Role    string         `json:"role,omitempty"`   // in the run: loss
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields,omitempty"` // of a record that was structured when it came
}

// Journal writes the records of one plugin. It may be used from several goroutines.
type Journal struct {
	plugin, role string

	mu     sync.Mutex
	file   *bounded
	line   []byte // what has come of a line that has not ended yet
	levels leveller
	closed bool
}

// Path returns the path of the journal of a role in a folder. Characters that a file name cannot have are replaced.
func Path(dir, role string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == os.PathSeparator || r < ' ' {
			return '-'
		}
		return r
	}, role)
	return filepath.Join(dir, "plugin-"+safe+".log")
}

// Open opens a journal to append to it. It keeps its beginning and its end when it becomes longer than limit bytes.
func Open(path, plugin, role string, limit int64) (*Journal, error) {
	file, err := openBounded(path, limit)
	if err != nil {
		return nil, err
	}
	return &Journal{plugin: plugin, role: role, file: file}, nil
}

// Write takes what a plugin wrote. A carriage return begins the line anew, as on a terminal.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return 0, os.ErrClosed
	}
	n, now := len(p), time.Now()
	var out []byte
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		j.add(part)
		switch {
		case end >= 0:
			out = j.record(out, now)
			p = p[end+1:]
		case len(j.line) > maxLine:
			out = j.record(out, now)
			p = nil
		default:
			p = nil
		}
	}
	if len(out) == 0 {
		return n, nil
	}
	_, err := j.file.Write(out)
	return n, err
}

// add appends a part of a line to what has come of it.
func (j *Journal) add(part []byte) {
	if at := bytes.LastIndexByte(bytes.TrimRight(part, "\r"), '\r'); at >= 0 {
		j.line, part = j.line[:0], part[at+1:]
	} else if len(j.line) > 0 && j.line[len(j.line)-1] == '\r' && len(part) > 0 {
		j.line = j.line[:0]
	}
	j.line = append(j.line, part...)
}

// record adds the record of the line to out.
func (j *Journal) record(out []byte, now time.Time) []byte {
	for line := bytes.TrimRight(j.line, "\r"); len(line) > 0; {
		part := line[:min(len(line), maxLine)]
		line = line[len(part):]
		r := Record{Time: now, Plugin: j.plugin, Role: j.role, Message: strings.ToValidUTF8(string(part), "\ufffd")}
		if !r.takeStructured() {
			r.Level = j.levels.of(r.Message)
		}
		text, err := json.Marshal(r)
		if err != nil {
			continue
		}
		out = append(append(out, text...), '\n')
	}
	j.line = j.line[:0]
	return out
}

// Close writes the line that has not ended, and closes the journal.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	if out := j.record(nil, time.Now()); len(out) > 0 {
		_, _ = j.file.Write(out)
	}
	return j.file.file.Close()
}

// takeStructured takes level, message and fields from a message that is a record of hclog in JSON.
func (r *Record) takeStructured() bool {
	if !strings.HasPrefix(r.Message, "{") {
		return false
	}
	var fields map[string]any
	if json.Unmarshal([]byte(r.Message), &fields) != nil {
		return false
	}
	message, ok := fields["@message"].(string)
	if !ok {
		return false
	}
	level, _ := fields["@level"].(string)
	r.Message, r.Level = message, normal(level)
	for key := range fields {
		if strings.HasPrefix(key, "@") {
			delete(fields, key)
		}
	}
	if len(fields) > 0 {
		r.Fields = fields
	}
	return true
}

// normal returns the level that another program's name of one means.
func normal(level string) string {
	switch strings.ToLower(level) {
	case "trace", "debug":
		return Debug
	case "warn", "warning":
		return Warn
	case "error", "critical", "fatal":
		return Error
	}
	return Info
}
