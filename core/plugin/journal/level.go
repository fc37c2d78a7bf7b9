package journal

import (
	"regexp"
	"strings"
)

// leveller tells the levels of plain lines. Tracebacks and panics are of many lines.
type leveller struct {
	python, golang bool // within a traceback, within the stacks of a panic
}

var (
	// logged matches a line of Python's logging: "WARNING:root:message".
	logged = regexp.MustCompile(`^(DEBUG|INFO|WARNING|ERROR|CRITICAL):`)
	// bracketed matches hclog's own form without JSON: "2026-01-02T15:04:05.000Z [WARN]  message".
	bracketed = regexp.MustCompile(`^(?:\S+ )?\[(TRACE|DEBUG|INFO|WARN|ERROR)\] `)
	// warned matches a line of Python's warnings: "model.py:3: UserWarning: message".
	warned = regexp.MustCompile(`^(\S+:\d+: \w*Warning: |[Ww]arning: )`)
	// stacked matches the lines of Go's stacks.
	stacked = regexp.MustCompile(`^(goroutine |\t|created by |\[signal |exit status |runtime: |r[0-9a-z]+ +0x|\.\.\.|$)|\)$`)
)

func (l *leveller) of(line string) string {
	switch {
	case strings.HasPrefix(line, "Traceback (most recent call last):"):
		l.python = true
		return Error
	case l.python:
		l.python = strings.HasPrefix(line, " ") || line == ""
		return Error
	case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
		l.golang = true
		return Error
	case l.golang && stacked.MatchString(line):
		return Error
	}
	l.golang = false
	if m := logged.FindStringSubmatch(line); m != nil {
		return normal(m[1])
	}
	if m := bracketed.FindStringSubmatch(line); m != nil {
		return normal(m[1])
	}
	switch {
	case warned.MatchString(line):
		return Warn
	case strings.HasPrefix(line, "error: "), strings.HasPrefix(line, "Error: "):
		return Error
	}
	return Info
}
