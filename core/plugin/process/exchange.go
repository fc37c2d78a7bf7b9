package process

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem/core/fault"
	"tandem/core/plugin/journal"
)

// exchange has the folders through which a strictly confined plugin gives and takes files. A plugin's rights are fixed
// when it starts, and the paths of Save, Load and Export come later: it saves into out, from where the runner moves the file, and
// loads what it may not read anyway from in.
type exchange struct {
	in, out, temp string
	read          []string // what it may read where it is
	remove        []string
}

// newExchange makes the folders. temp lies in dir, the session's, and out in files, which should be on the disk where
// files are saved to; "" for dir.
func newExchange(dir, files, label string, read []string) (x *exchange, err error) {
	x = &exchange{read: read}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	if x.temp, err = os.MkdirTemp(dir, tempPrefix); err != nil {
		return nil, err
	}
	x.remove = append(x.remove, x.temp)
	root := x.temp
	if files != "" {
		root = filepath.Join(files, filepath.Base(journal.Path("", label)))
		if err = os.RemoveAll(root); err != nil { // of a runner that was killed
			return nil, err
		}
		x.remove = append(x.remove, root)
	}
	x.in, x.out = filepath.Join(root, "in"), filepath.Join(root, "out")
	return x, errors.Join(os.MkdirAll(x.in, 0o700), os.MkdirAll(x.out, 0o700))
}

func (x *exchange) close() {
	for _, dir := range x.remove {
		_ = os.RemoveAll(dir)
		_ = os.Remove(filepath.Dir(dir)) // succeeds for the last plugin's
	}
}

// savesTo returns where a plugin writes a file that is to be saved at path.
func (x *exchange) savesTo(path string) string {
	if x == nil {
		return path
	}
	return filepath.Join(x.out, filepath.Base(path))
}

// take moves a file that the plugin saved to where it belongs. What is no file stays behind: who looks for the file
// then says that it is missing.
func (x *exchange) take(to string) error {
	from := x.savesTo(to)
	defer os.RemoveAll(from)
	stat, err := os.Lstat(from)
	if err != nil || !stat.Mode().IsRegular() {
		return nil
	}
	if os.Rename(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}

// offer returns a path by which the plugin can read a file, and a function that takes it back.
func (x *exchange) offer(path string) (string, func(), error) {
	for _, dir := range x.read {
		if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
			return path, func() {}, nil
		}
	}
	as := filepath.Join(x.in, filepath.Base(path))
	_ = os.Remove(as)
	if stat, err := os.Stat(path); err != nil || !stat.Mode().IsRegular() {
		return as, func() {}, nil // the plugin says that it is not there
	}
	real := resolved(path)
	if os.Link(real, as) != nil {
		if err := copyFile(real, as); err != nil {
			return "", nil, err
		}
	}
	return as, func() { _ = os.Remove(as) }, nil
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// exchangeConn sends the calls of a plugin that name files with paths that the plugin can use.
type exchangeConn struct {
	grpc.ClientConnInterface
	exchange *exchange
}

// Invoke makes a call.
func (c exchangeConn) Invoke(ctx context.Context, method string, request, answer any, o ...grpc.CallOption) error {
	name := path.Base(method)
	m, ok := request.(interface {
		proto.Message
		GetPath() string
	})
	if !ok || name != "Save" && name != "Load" && name != "Export" {
		return c.ClientConnInterface.Invoke(ctx, method, request, answer, o...)
	}
	file, use, done := m.GetPath(), c.exchange.savesTo(m.GetPath()), func() {}
	if name == "Load" {
		var err error
		if use, done, err = c.exchange.offer(file); err != nil {
			return fault.New(fault.Exhausted, "%s cannot be handed to the plugin: %w", file, err)
		}
	}
	defer done()
	other := proto.Clone(m)
	fields := other.ProtoReflect()
	fields.Set(fields.Descriptor().Fields().ByName("path"), protoreflect.ValueOfString(use))
	if err := c.ClientConnInterface.Invoke(ctx, method, other, answer, o...); err != nil || name == "Load" {
		return err
	}
	if err := c.exchange.take(file); err != nil {
		return fault.New(fault.Exhausted, "%s: %w", file, err)
	}
	return nil
}
