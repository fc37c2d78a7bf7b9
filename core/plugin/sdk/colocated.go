package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire"
)

// Colocated lists plugins that one process can serve at the same time.
type Colocated struct {
	Encoders []Encoder
	Losses   []Loss
}

// ServeColocated serves those of the plugins that the runner names (wire.EnvColocated), each behind a socket of its own;
// the main function of the program that holds them calls nothing else. It returns only when the process is to end. Started
// by hand it prints what it holds.
func ServeColocated(c Colocated) {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		os.Exit(c.byHand(os.Args[1:], os.Stdout, os.Stderr))
	}
	err := serveUnderRunner("colocated", func(window *wire.Window) (func(grpc.ServiceRegistrar), error) {
		return func(grpc.ServiceRegistrar) {}, c.listen(window)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0) // also while a cancelled call still computes
}

// served holds a plugin and how its instances are made.
type served struct {
	descriptor clip.Descriptor
	instance   instance
}

// all returns the plugins by full name: encoders/vit.
func (c Colocated) all() map[string]served {
	m := map[string]served{}
	for _, e := range c.Encoders {
		m[clip.KindEncoder.Dir()+"/"+e.Name] = served{e.Descriptor(), instance{encoder: e.New}}
	}
	for _, l := range c.Losses {
		m[clip.KindLoss.Dir()+"/"+l.Name] = served{l.Descriptor(), instance{loss: l.New}}
	}
	return m
}

// listen serves the plugins that the runner asks for: the i-th at wire.ColocatedSocket of i, an instance each.
func (c Colocated) listen(window *wire.Window) error {
	var names []string
	if err := json.Unmarshal([]byte(os.Getenv(wire.EnvColocated)), &names); err != nil {
		return fault.New(fault.Internal, "%s: %w", wire.EnvColocated, err)
	}
	all, dir := c.all(), os.Getenv(plugin.EnvUnixSocketDir)
	for i, name := range names {
		s, ok := all[name]
		if !ok {
			return fault.New(fault.NotFound, "this program holds no plugin %s", name)
		}
		listener, err := net.Listen("unix", wire.ColocatedSocket(dir, i))
		if err != nil {
			return fault.New(fault.Unavailable, "%w", err)
		}
		server := grpc.NewServer(wire.ServerOptions()...)
		s.instance.register(wire.NewServer(s.descriptor, window), server)
		go func() { _ = server.Serve(listener) }() // until the process ends
	}
	return nil
}

// byHand answers a person, or the build. It returns the exit status.
func (c Colocated) byHand(args []string, stdout, stderr io.Writer) int {
	names := make([]string, 0, len(c.all()))
	for name := range c.all() {
		names = append(names, name)
	}
	slices.Sort(names)
	switch {
	case len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help":
		fmt.Fprintf(stdout, "This program of tandem serves several plugins in one process (train.colocate): %s.\n"+
			"The runner starts it; by hand it does nothing. --manifest prints its digest and those of the plugins beside it.\n", strings.Join(names, ", "))
		return 0
	case len(args) == 1 && args[0] == "--manifest":
		path, err := os.Executable()
		if err == nil {
			err = c.manifest(stdout, path, names)
		}
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	}
	fmt.Fprintf(stderr, "colocated: unknown argument %q\n  hint: --manifest and --help are known\n", args[0])
	return 2
}

// manifest prints what a build stores beside this program, which lies in a folder of plugins: the digest of each plugin's
// own program, of which this one holds a copy of the same build. Plugins that were not built are left out.
func (c Colocated) manifest(w io.Writer, path string, names []string) error {
	sum, err := wire.SHA256(path)
	if err != nil {
		return err
	}
	m := wire.ColocatedManifest{SHA256: sum, Plugins: map[string]string{}}
	for _, name := range names {
		if sum, err := wire.SHA256(filepath.Join(filepath.Dir(path), filepath.FromSlash(name))); err == nil {
			m.Plugins[name] = sum
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
