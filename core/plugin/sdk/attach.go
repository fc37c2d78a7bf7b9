package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire"
)

// serveByHand serves a plugin that a developer started, in a debugger perhaps, and prints what a runner needs to use it.
// Every connection has an instance of its own: one process serves the roles of a spec that name the plugin, and run after
// run. It ends on Ctrl-C.
func serveByHand(d clip.Descriptor, i instance, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "tandem-serve-")
	if err != nil {
		return fault.New(fault.Unavailable, "a folder for the socket: %w", err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("unix", filepath.Join(dir, "plugin"))
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	name := d.Kind.Dir() + "/" + d.Name
	text, err := json.Marshal(map[string]any{name: map[string]any{"socket": listener.Addr().String(), "pid": os.Getpid(), "protocol": d.Protocol}})
	if err != nil {
		return fault.New(fault.Internal, "%w", err)
	}
	fmt.Fprintf(stdout, "%s %s waits for runs; Ctrl-C ends it. In another terminal:\n\n  export RUNNER_REATTACH='%s'\n  runner run SPEC.yaml\n\n", name, d.Version, text)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil // closed
		}
		go serveConnection(conn, d, i)
	}
}

// serveConnection serves one instance of a plugin until its connection ends.
func serveConnection(conn net.Conn, d clip.Descriptor, i instance) {
	server := grpc.NewServer(wire.ServerOptions()...)
	defer server.Stop()
	i.register(wire.NewServer(d, nil), server)
	only := &oneConn{conn: conn, ended: make(chan struct{})}
	_ = server.Serve(only)
}

// oneConn listens to one connection, which was accepted before.
type oneConn struct {
	conn   net.Conn
	given  bool
	ended  chan struct{}
	closer sync.Once
}

// Accept returns the connection, and when that has ended io.EOF.
func (o *oneConn) Accept() (net.Conn, error) {
	if !o.given {
		o.given = true
		return endConn{o.conn, o}, nil
	}
	<-o.ended
	return nil, io.EOF
}

func (o *oneConn) Close() error {
	o.closer.Do(func() { close(o.ended) })
	return nil
}

func (o *oneConn) Addr() net.Addr { return o.conn.LocalAddr() }

// endConn tells its listener when it is closed.
type endConn struct {
	net.Conn
	from *oneConn
}

func (c endConn) Close() error {
	_ = c.from.Close()
	return c.Conn.Close()
}
