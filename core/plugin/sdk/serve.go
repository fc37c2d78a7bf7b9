package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	hclog "github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/plugin/wire"
)

// serve runs the main function of every plugin. It ends the process.
func serve(d clip.Descriptor, i instance) {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		os.Exit(byHand(os.Args[1:], d, i, os.Stdout, os.Stderr))
	}
	if err := underRunner(d, i); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0) // also while a cancelled call still computes
}

// byHand answers a person, or a build that stores descriptors. It returns the exit status.
func byHand(args []string, d clip.Descriptor, i instance, stdout, stderr io.Writer) int {
	switch {
	case len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help":
		usage(stdout, d)
		return 0
	case len(args) == 1 && args[0] == "--describe":
		text, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		fmt.Fprintf(stdout, "%s\n", text)
		return 0
	case len(args) == 1 && args[0] == "--manifest":
		if err := manifest(stdout, d); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	case len(args) == 1 && args[0] == "--serve":
		if err := serveByHand(d, i, stdout); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	case len(args) == 1 && args[0] == "--version":
		fmt.Fprintf(stdout, "%s/%s %s (protocol %d)\n", d.Kind.Dir(), d.Name, d.Version, d.Protocol)
		return 0
	}
	fmt.Fprintf(stderr, "%s: unknown argument %q\n  hint: --describe, --manifest, --serve, --version and --help are known\n", d.Name, args[0])
	return 2
}

// manifest prints what a build stores beside the binary, as <binary>.json, so that the runner need
// not start it to know what it is.
func manifest(w io.Writer, d clip.Descriptor) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	sum, err := wire.SHA256(path)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(wire.Manifest{SHA256: sum, Descriptor: d}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

// underRunner serves until the runner says stop or ends.
func underRunner(d clip.Descriptor, i instance) error {
	return serveUnderRunner(d.Kind.Dir()+"/"+d.Name, func(window *wire.Window) (func(grpc.ServiceRegistrar), error) {
		server := wire.NewServer(d, window)
		return func(r grpc.ServiceRegistrar) { i.register(server, r) }, nil
	})
}

// serveUnderRunner serves until the runner says stop or ends. open gets the memory that the runner shares, nil when it
// shares none, and returns what puts services on the server of go-plugin.
func serveUnderRunner(name string, open func(*wire.Window) (func(grpc.ServiceRegistrar), error)) error {
	realStderr := os.Stderr
	if err := keepStdoutForHandshake(); err != nil {
		return err
	}
	stopWithRunner()
	window, err := openWindow()
	if err != nil {
		return err
	}
	register, err := open(window)
	if err != nil {
		return err
	}
	logger := hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn, Output: realStderr, JSONFormat: true})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ServerPlugins(register),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(wire.ServerOptions(append(options, restoreOutput(realStderr))...)...)
		},
		Logger: logger,
	})
	return nil
}
