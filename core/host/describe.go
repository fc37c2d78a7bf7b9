package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/wire"
)

// describeTimeout bounds `plugin --describe`, which does no work.
const describeTimeout = 20 * time.Second

func (c *Catalog) descriptor(path, sum string) (clip.Descriptor, error) {
	if m, ok := readManifest(path + ".json"); ok && m.SHA256 == sum {
		return m.Descriptor, nil
	}
	cached := ""
	if c.CacheDir != "" {
		cached = filepath.Join(c.CacheDir, sum+".json")
		if m, ok := readManifest(cached); ok && m.SHA256 == sum {
			return m.Descriptor, nil
		}
	}
	d, err := runDescribe(path)
	if err == nil && cached != "" {
		writeManifest(cached, wire.Manifest{SHA256: sum, Descriptor: d})
	}
	return d, err
}

func readManifest(path string) (wire.Manifest, bool) {
	var m wire.Manifest
	text, err := os.ReadFile(path)
	return m, err == nil && json.Unmarshal(text, &m) == nil
}

// writeManifest fills the cache; that it could not is no reason to stop.
func writeManifest(path string, m wire.Manifest) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return
	}
	_, writeErr := temp.Write(append(text, '\n'))
	if errors.Join(writeErr, temp.Close(), os.Rename(temp.Name(), path)) != nil {
		os.Remove(temp.Name())
	}
}

func runDescribe(path string) (clip.Descriptor, error) {
	ctx, cancel := context.WithTimeout(context.Background(), describeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--describe")
	cmd.Env = environment(0)
	cmd.SysProcAttr = processGroup()
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return cmd.Process.Kill() }
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	notPlugin := func(why error) *fault.Error {
		words := &tail{}
		_, _ = words.Write(stderr.Bytes())
		return fault.New(fault.Invalid, "%s is not a tandem plugin: %w", path, why).
			WithDetail(words.String()).WithHint("a plugin answers --describe; see docs/plugins.md")
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return clip.Descriptor{}, fault.New(fault.Unavailable, "cannot run %s: %w", path, err)
	case ctx.Err() != nil:
		return clip.Descriptor{}, notPlugin(errors.New("--describe did not end"))
	case err != nil:
		return clip.Descriptor{}, notPlugin(err)
	}
	var d clip.Descriptor
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
		return clip.Descriptor{}, notPlugin(err)
	}
	if _, known := kindOfDir(d.Kind.Dir()); !known || d.Name == "" {
		return clip.Descriptor{}, notPlugin(errors.New("its descriptor has no kind or name"))
	}
	return d, nil
}
