package child

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Tail keeps the end of what a plugin wrote to stderr, for error messages, and copies all of it to a log.
type Tail struct {
	mu   sync.Mutex
	buf  []byte
	log  io.Writer // nil for none
	path string    // of the log; "" for none
	// Home names the plugin's folder: its author's lines of a traceback come first. It is set before the start.
	Home string
}

const (
	tailBytes = 32 << 10
	tailLines = 40
)

// CopyTo copies what is written from now on to log, a file at path.
func (t *Tail) CopyTo(log io.Writer, path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log, t.path = log, path
}

// Write appends p. It never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil {
		_, _ = t.log.Write(p) // a full disk must not stop the plugin
	}
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(p), nil
}

// Quote returns the last lines and where the rest is; "" when nothing was written.
func (t *Tail) Quote() string {
	said := t.String()
	if said != "" && t.path != "" {
		said += "\n(the end of " + t.path + ")"
	}
	return said
}

// String returns the last 40 lines. Carriage returns overwrite, as on a terminal, log records in hclog's JSON become
// plain lines, and traces are shortened (OwnFirst).
func (t *Tail) String() string {
	t.mu.Lock()
	text := bytes.Clone(t.buf[max(0, len(t.buf)-tailBytes):])
	t.mu.Unlock()
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(string(text), "\r\n"), "\n") {
		line = strings.TrimRight(line, "\r")
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:]
		}
		if line != "" {
			lines = append(lines, plainLine(line))
		}
	}
	lines = strings.Split(OwnFirst(strings.Join(lines, "\n"), t.Home), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// plainLine returns an hclog JSON record as "[warn] message key=value", and any other line as it is.
func plainLine(line string) string {
	if !strings.HasPrefix(line, "{") {
		return line
	}
	var record map[string]any
	if json.Unmarshal([]byte(line), &record) != nil || record["@message"] == nil {
		return line
	}
	out := fmt.Sprintf("[%v] %v", record["@level"], record["@message"])
	var keys []string
	for k := range record {
		if !strings.HasPrefix(k, "@") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		out += fmt.Sprintf(" %s=%v", k, record[k])
	}
	return out
}

// Detach ends the copying to the log.
func (t *Tail) Detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = nil
}
