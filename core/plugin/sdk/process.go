package sdk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"tandem/core/fault"
	"tandem/core/plugin/wire"
)

// restoreOutput points Go's os.Stdout and os.Stderr at the real stderr again. go-plugin has put
// pipes in their place that reach the runner only while the connection lives, so that the last
// words of a dying plugin would be lost. The first call comes after go-plugin has done so.
func restoreOutput(realStderr *os.File) grpc.ServerOption {
	var once sync.Once
	restore := func() { os.Stdout, os.Stderr = realStderr, realStderr }
	return grpc.ChainUnaryInterceptor(
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			once.Do(restore)
			return next(ctx, request)
		})
}

// openWindow maps the arena that the runner passed; nil when it passed none.
func openWindow() (*wire.Window, error) {
	file, err := inheritedFile(wire.EnvArenaFD)
	if file == nil || err != nil {
		return nil, err
	}
	defer file.Close() // the mapping stays, and grandchildren need not inherit it
	size, err := strconv.ParseInt(os.Getenv(wire.EnvArenaSize), 10, 64)
	if err != nil {
		return nil, fault.New(fault.Internal, "%s: %w", wire.EnvArenaSize, err)
	}
	return wire.OpenWindow(file.Fd(), size)
}

// inheritedFile returns the file whose descriptor an environment variable names; nil when it is not set.
func inheritedFile(name string) (*os.File, error) {
	text := os.Getenv(name)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, fault.New(fault.Internal, "%s: %w", name, err)
	}
	closeOnExec(int(fd))
	return os.NewFile(uintptr(fd), name), nil
}

// stopWithRunner ends this process when the runner ends, in whatever way. The runner holds the other end of a
// pipe and never writes to it.
func stopWithRunner() {
	end := sync.OnceFunc(endWithFamily)
	onTerminate(end)
	pipe, err := inheritedFile(wire.EnvParentFD)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if pipe == nil {
		return
	}
	go func() {
		var b [1]byte
		_, _ = pipe.Read(b[:])
		end()
	}()
}

// endWithFamily removes the socket, which nobody can call any more, and kills the process group: this process
// and its children. The runner gave the plugin a group of its own.
func endWithFamily() {
	dir := os.Getenv(plugin.EnvUnixSocketDir)
	if strings.HasPrefix(filepath.Base(dir), "plugin-dir") { // as go-plugin names it
		_ = os.RemoveAll(dir)
		if session := filepath.Dir(dir); strings.HasPrefix(filepath.Base(session), "tandem-") {
			_ = os.Remove(session) // succeeds for the last plugin of the session
		}
	}
	killFamily()
	os.Exit(1)
}
