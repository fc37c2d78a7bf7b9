package child

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// mostLibrary limits how many frames of libraries are shown of a trace.
const mostLibrary = 4

// frame holds a call of a trace: its lines, and whether the plugin's author wrote it.
type frame struct {
	lines []string
	own   bool
}

// OwnFirst shortens the tracebacks of Python and the stacks of Go in a text: the frames of the plugin's author stand
// first, in the order in which they called each other, the last call first in Go and last in Python; of those of
// libraries a few follow. dir is the plugin's folder, where the files of its author lie.
func OwnFirst(text, dir string) string {
	if strings.Contains(text, inPlugin) { // shortened by the plugin
		return text
	}
	lines := strings.Split(text, "\n")
	var out []string
	for len(lines) > 0 {
		switch {
		case strings.HasPrefix(lines[0], "Traceback (most recent call last):"):
			var trace []string
			trace, lines = pythonTrace(lines, dir)
			out = append(out, trace...)
		case goroutine.MatchString(lines[0]):
			var trace []string
			trace, lines = goStack(lines)
			out = append(out, trace...)
		default:
			out = append(out, lines[0])
			lines = lines[1:]
		}
	}
	return strings.Join(out, "\n")
}

const (
	inPlugin  = "in the plugin:"
	inLibrary = "in libraries:"
)

// arrange returns the lines of a trace: the author's frames, then some of the others.
func arrange(frames []frame, lastFirst bool) (out []string) {
	var library []frame
	for _, f := range frames {
		if f.own {
			if out == nil {
				out = append(out, inPlugin)
			}
			out = append(out, f.lines...)
		} else {
			library = append(library, f)
		}
	}
	if len(library) == 0 {
		return out
	}
	out = append(out, inLibrary)
	shown := library[:min(mostLibrary, len(library))]
	if !lastFirst {
		shown = library[len(library)-len(shown):]
	}
	for _, f := range shown {
		out = append(out, f.lines...)
	}
	if n := len(library) - len(shown); n > 0 {
		out = append(out, fmt.Sprintf("  … and %d more", n))
	}
	return out
}

var pythonFrame = regexp.MustCompile(`^  File "([^"]*)", line \d+`)

// pythonTrace takes a traceback from lines. The error's own line comes first.
func pythonTrace(lines []string, dir string) (out, rest []string) {
	rest = lines[1:]
	var frames []frame
	for len(rest) > 0 && strings.HasPrefix(rest[0], "  ") {
		if m := pythonFrame.FindStringSubmatch(rest[0]); m != nil {
			frames = append(frames, frame{own: isOwnFile(m[1], dir)})
		}
		if len(frames) > 0 {
			f := &frames[len(frames)-1]
			f.lines = append(f.lines, rest[0])
		}
		rest = rest[1:]
	}
	if len(frames) == 0 || len(rest) == 0 {
		return lines[:len(lines)-len(rest)], rest
	}
	out = append([]string{rest[0]}, arrange(frames, false)...)
	return out, rest[1:]
}

func isOwnFile(file, dir string) bool {
	if strings.Contains(file, "/site-packages/") || strings.Contains(file, "/dist-packages/") || strings.HasPrefix(file, "<") {
		return false
	}
	for _, folder := range []string{dir, realPath(dir)} {
		if folder != "" && strings.HasPrefix(file, strings.TrimSuffix(folder, "/")+"/") {
			return true
		}
	}
	return false
}

func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

var (
	goroutine  = regexp.MustCompile(`^goroutine \d+.*\[.*\]:$`)
	goFunction = regexp.MustCompile(`^(created by )?(\S+?)(\([^()]*\)| in goroutine \d+)?$`)
	goPlace    = regexp.MustCompile(`^\t(.*:\d+)( \+0x[0-9a-f]+)?$`)
)

// goStack takes the stack of a goroutine from lines. What the runtime did after the panic is left out.
func goStack(lines []string) (out, rest []string) {
	rest = lines[1:]
	var frames []frame
	for len(rest) > 1 {
		place := goPlace.FindStringSubmatch(rest[1])
		name := goFunction.FindStringSubmatch(rest[0])
		if place == nil || name == nil {
			break
		}
		if name[2] == "panic" || strings.HasPrefix(name[2], "runtime.panic") || strings.HasPrefix(name[2], "runtime.gopanic") || strings.HasPrefix(name[2], "runtime.sigpanic") || strings.HasPrefix(name[2], "runtime.goPanic") {
			frames = nil
		} else {
			frames = append(frames, frame{own: isOwnFunction(name[2]), lines: []string{"  " + name[1] + name[2], "    " + place[1]}})
		}
		rest = rest[2:]
	}
	if len(frames) == 0 {
		return lines[:1], lines[1:]
	}
	return arrange(frames, true), rest
}

// isOwnFunction tells by its name whether a plugin's author wrote a function: it is of the program itself, or of a
// package that is neither Go's, nor tandem's, nor of what carries the calls.
func isOwnFunction(name string) bool {
	if strings.HasPrefix(name, "main.") {
		return true
	}
	first, _, isPath := strings.Cut(name, "/")
	switch {
	case strings.HasPrefix(name, "tandem/core/"):
		path, _, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ".")
		return strings.HasSuffix(path, "_test")
	case first == "tandem":
		return true
	case strings.HasPrefix(name, "google.golang.org/"), strings.HasPrefix(name, "github.com/hashicorp/"):
		return false
	}
	return isPath && strings.Contains(first, ".") // Go's own packages have no domain
}
