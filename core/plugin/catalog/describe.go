package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
	"tandem/core/plugin/child"
	"tandem/core/plugin/wire"
)

// Limits of a descriptor.
const (
	maxDescriptor = 4 << 20 // bytes of JSON
	maxFields     = 4096
	maxWord       = 200 // bytes of a name
	maxLine       = 4 << 10
)

// describeTimeout bounds `plugin --describe`, which does no work.
const describeTimeout = 20 * time.Second

// descriptor returns what the command of a plugin answers, from a manifest or the cache if they know its sum. fresh says
// that it has just been asked.
func (c *Catalog) descriptor(command []string, sum string) (_ clip.Descriptor, fresh bool, _ error) {
	path := command[len(command)-1]
	if m, ok := readManifest(path + ".json"); ok && m.SHA256 == sum {
		return m.Descriptor, false, nil
	}
	if c.CacheDir != "" {
		if m, ok := readManifest(filepath.Join(c.CacheDir, sum+".json")); ok && m.SHA256 == sum {
			return m.Descriptor, false, nil
		}
	}
	d, err := runDescribe(command)
	if err == nil {
		c.remember(sum, d)
	}
	return d, true, err
}

// remember keeps a descriptor in the cache.
func (c *Catalog) remember(sum string, d clip.Descriptor) {
	if c.CacheDir != "" && sum != "" {
		writeManifest(filepath.Join(c.CacheDir, sum+".json"), wire.Manifest{SHA256: sum, Descriptor: d})
	}
}

func readManifest(path string) (wire.Manifest, bool) {
	var m wire.Manifest
	text, err := files.Read(path, maxDescriptor)
	return m, err == nil && json.Unmarshal(text, &m) == nil && CheckDescriptor(m.Descriptor) == nil
}

// writeManifest fills the cache; that it could not is no reason to stop.
func writeManifest(path string, m wire.Manifest) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	_, _ = leftover.Replace(path, func(f *os.File) error {
		_, err := f.Write(append(text, '\n'))
		return err
	})
}

func runDescribe(command []string) (clip.Descriptor, error) {
	path := command[len(command)-1]
	ctx, cancel := context.WithTimeout(context.Background(), describeTimeout)
	defer cancel()
	// What prints without end is ended: nothing of it is a descriptor.
	stdout, stderr := &bounded{most: maxDescriptor, full: cancel}, &child.Tail{Home: filepath.Dir(path)}
	err := describeConfined(ctx, command, stdout, stderr)
	notPlugin := func(why error) *fault.Error {
		return fault.New(fault.Invalid, "%s is not a tandem plugin: %w", path, why).
			WithDetail(stderr.String()).WithHint("a plugin answers --describe; see docs/plugins.md")
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return clip.Descriptor{}, fault.New(fault.Unavailable, "cannot run %s: %w", path, err)
	case stdout.over:
		return clip.Descriptor{}, notPlugin(fmt.Errorf("--describe printed more than %s", clip.FormatBytes(maxDescriptor)))
	case ctx.Err() != nil:
		return clip.Descriptor{}, notPlugin(fmt.Errorf("--describe did not end within %v", describeTimeout))
	case errors.Is(err, exec.ErrWaitDelay):
		return clip.Descriptor{}, notPlugin(errors.New("with --describe it leaves a process behind that holds its output"))
	case err != nil && len(command) > 1:
		if e := explainPython(path, command[0], stderr.String()); e != nil {
			return clip.Descriptor{}, e
		}
		return clip.Descriptor{}, notPlugin(err)
	case err != nil:
		return clip.Descriptor{}, notPlugin(err)
	}
	var d clip.Descriptor
	if err := json.Unmarshal(stdout.text, &d); err != nil {
		return clip.Descriptor{}, explainDescriptor(path, stdout.text, notPlugin(err))
	}
	if err := CheckDescriptor(d); err != nil {
		return clip.Descriptor{}, notPlugin(err)
	}
	return d, nil
}

// explainDescriptor says what usually stands behind a text that is no descriptor: a program that printed nothing, or that
// printed something of its own beside the descriptor. Other texts give the error that is passed.
func explainDescriptor(path string, printed []byte, other *fault.Error) *fault.Error {
	if len(bytes.TrimSpace(printed)) == 0 {
		return fault.New(fault.Invalid, "%s is not a tandem plugin: with --describe it prints nothing", path).
			WithHint("a plugin ends with a call that serves it: tandem.serve(…) in Python, sdk.ServeLoss(…) in Go; see docs/plugins.md")
	}
	if first := bytes.Index(printed, []byte("\n{")) + 1; first > 0 {
		var d clip.Descriptor
		if json.NewDecoder(bytes.NewReader(printed[first:])).Decode(&d) == nil && d.Kind != "" {
			return fault.New(fault.Invalid, "%s: with --describe it prints %.80q before its descriptor", path, bytes.TrimSpace(printed[:first])).
				WithHint("print to stderr; in Python, import tandem first: from then on print writes to the log")
		}
	}
	return other
}

// describeConfined runs a plugin with --describe. A plugin that was only found must not do anything yet: it changes no
// files and has no network, where the system can see to that.
func describeConfined(ctx context.Context, command []string, stdout, stderr io.Writer) error {
	command = append(command[:len(command):len(command)], "--describe")
	temp, release, err := leftover.Dir("tandem-describe-")
	if err != nil {
		return child.Run(ctx, stdout, stderr, command[0], command[1:]...)
	}
	defer release()
	limits := child.Confinement{Strict: len(child.Lacks()) == 0, Lenient: true, Read: []string{"/"}, Write: []string{temp}}
	return child.RunConfined(ctx, limits, []string{"TMPDIR=" + temp}, stdout, stderr, command[0], command[1:]...)
}

// bounded keeps what is written up to a size, and calls full when there is more.
type bounded struct {
	most int
	text []byte
	over bool
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.most - len(b.text); len(p) > room {
		b.over = true
		b.full()
		return 0, errors.New("too much")
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// CheckDescriptor reports which rule a descriptor breaks. Descriptors stand in tables, paths and specs.
func CheckDescriptor(d clip.Descriptor) error {
	if _, known := kindOfDir(d.Kind.Dir()); !known || d.Name == "" {
		return errors.New("its descriptor has no kind or name")
	}
	word := func(s string) bool {
		return s != "" && len(s) <= maxWord && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '/' })
	}
	line := func(s string, most int) bool {
		return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
	}
	switch {
	case !word(d.Name):
		return fmt.Errorf("its name %.60q is no word", d.Name)
	case !line(d.Version, maxWord):
		return fmt.Errorf("its version %.60q is no version", d.Version)
	case !line(d.Summary, maxLine):
		return fmt.Errorf("its summary %.60q… is no line", d.Summary)
	case len(d.Schema) > maxFields || len(d.Relations) > maxFields || len(d.Sizes) > maxFields || len(d.Capabilities) > maxFields || len(d.Files) > maxFields || len(d.Versions) > maxFields:
		return fmt.Errorf("its descriptor has more than %d options, sizes, capabilities, files or versions", maxFields)
	}
	seen := map[string]bool{}
	for _, f := range d.Schema {
		switch {
		case !word(f.Name) || seen[f.Name]:
			return fmt.Errorf("its option %.60q is no name, or is there twice", f.Name)
		case !slices.Contains([]clip.FieldType{clip.TypeInt, clip.TypeFloat, clip.TypeBool, clip.TypeString, clip.TypePath, clip.TypeSource, clip.TypeList, clip.TypeMap}, f.Type):
			return fmt.Errorf("its option %s has the unknown type %.60q", f.Name, f.Type)
		case f.Len < 0 || len(f.Enum) > maxFields || !line(f.Help, 16*maxLine):
			return fmt.Errorf("its option %s has a negative length, more than %d values or a help that is no line", f.Name, maxFields)
		}
		seen[f.Name] = true
	}
	for _, name := range d.Inputs {
		if d.Kind != clip.KindLoss || !slices.Contains(clip.LossInputs, name) {
			return fmt.Errorf("a %s has no input %.60q; losses have %s", d.Kind, name, strings.Join(clip.LossInputs, ", "))
		}
	}
	for _, name := range d.Outputs {
		if d.Kind != clip.KindEncoder || name != clip.OutputTokens {
			return fmt.Errorf("a %s has no output %.60q; encoders have %s", d.Kind, name, clip.OutputTokens)
		}
	}
	for _, size := range d.Sizes {
		if size.N < 0 || size.N > 1<<44 {
			return fmt.Errorf("its descriptor says that it has %d samples", size.N)
		}
	}
	return nil
}
