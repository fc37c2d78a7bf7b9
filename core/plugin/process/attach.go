package process

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"os"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/wire"
)

// EnvReattach names the variable that tells of plugins which a developer started, in a debugger perhaps. They are used
// instead of new processes. It holds JSON: by name of the plugin (losses/mine) or by role (loss), what the plugin printed.
const EnvReattach = "RUNNER_REATTACH"

// attachment tells where a plugin listens that somebody else started.
type attachment struct {
	Socket   string `json:"socket"`
	PID      int    `json:"pid"` // 0: not known
	Protocol int    `json:"protocol"`
}

// UnmarshalJSON also takes the handshake of a plugin, "1|2|unix|/tmp/x/plugin|grpc|".
func (a *attachment) UnmarshalJSON(data []byte) error {
	var line string
	if json.Unmarshal(data, &line) == nil {
		fields := strings.Split(line, "|")
		if len(fields) < 5 || fields[2] != "unix" || fields[4] != "grpc" {
			return fault.New(fault.Invalid, "%q is no handshake of a plugin", line)
		}
		var err error
		a.Socket = fields[3]
		a.Protocol, err = strconv.Atoi(fields[1])
		return err
	}
	type plain attachment
	return json.Unmarshal(data, (*plain)(a))
}

// parseReattach reads the value of EnvReattach.
func parseReattach(text string) (map[string]attachment, error) {
	if text == "" {
		return nil, nil
	}
	var m map[string]attachment
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", EnvReattach, err).
			WithHint(`write {"losses/mine": {"socket": "/tmp/…/plugin", "protocol": %d}}; a plugin started with --serve prints it`, clip.ProtocolVersion)
	}
	for name, a := range m {
		if a.Socket == "" || a.Protocol < 1 || a.Protocol > clip.ProtocolVersion {
			return nil, fault.New(fault.Invalid, "%s: %s has no socket, or a protocol that is not 1 to %d", EnvReattach, name, clip.ProtocolVersion)
		}
	}
	return m, nil
}

// attach connects to a plugin that somebody else started. It has no shared memory, no limits and no log of the run, and
// it goes on when the session ends.
func (s *Session) attach(ctx context.Context, d clip.Descriptor, b catalog.Binary, o StartOptions, at attachment) (_ *Process, err error) {
	p := &Process{Descriptor: d, Binary: b, label: cmp.Or(o.Label, b.Name), attached: true, tail: &child.Tail{}, child: child.Foreign(at.PID), stopped: make(chan struct{})}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", at.Socket)
	}
	probe, err := dial(ctx, "")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s: %w", EnvReattach, err).WithPlugin(b.Ref()).
			WithHint("start the plugin with --serve and export what it prints, or unset %s", EnvReattach)
	}
	probe.Close()
	cc, err := grpc.NewClient("passthrough:///plugin", append(wire.DialOptions(), grpc.WithContextDialer(dial), grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err).WithPlugin(b.Ref())
	}
	p.hangUp = cc.Close
	p.conn = wire.NewConn(cc, wire.ConnConfig{Plugin: b.Ref(), Protocol: at.Protocol, Lost: p.lostFault, Watch: s.watch.begin(p), Shorten: p.shorten, Tap: s.tap(p.label), Observe: s.observe(p)})
	text, err := p.conn.Descriptor(ctx)
	if err != nil {
		return nil, err
	}
	var is clip.Descriptor
	if err := json.Unmarshal(text, &is); err != nil || is.Kind != d.Kind || is.Name != d.Name {
		return nil, fault.New(fault.Conflict, "%s: the process at %s is %s/%s", EnvReattach, at.Socket, is.Kind.Dir(), is.Name).WithPlugin(b.Ref())
	}
	return p, nil
}

// Attached reports whether somebody else started the plugin (EnvReattach).
func (p *Process) Attached() bool { return p.attached }

// reattach returns where a plugin listens that somebody started, if one did.
func (s *Session) reattach(b catalog.Binary, label string) (attachment, bool) {
	if a, ok := s.attachments[label]; ok {
		return a, true
	}
	a, ok := s.attachments[b.Ref()]
	return a, ok
}

func reattachments() (map[string]attachment, error) { return parseReattach(os.Getenv(EnvReattach)) }
