// Package wire carries the interfaces of core/clip between processes: protobuf messages over gRPC
// (wire/pb), tensors in shared memory, faults in gRPC status details.
//
// The runner's side is Arena and the clients; the plugin's side is Window and the Register functions.
// The package starts no processes: core/plugin/process does, and core/plugin/sdk is inside them.
//
// # Memory
//
// The runner makes one Arena per run, a sparse memfd that every plugin maps. Only the runner
// allocates in it: a request names the slots of its inputs and, for every tensor of the answer, the
// slot to put it in. Without an arena (systems without memfd) tensors travel inside the messages.
package wire

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"tandem/core/clip"
)

// Handshake tells a plugin that a runner started it. Without it a plugin that somebody starts by hand can say
// what it is. It protects nothing.
var Handshake = plugin.HandshakeConfig{MagicCookieKey: "RUNNER_PLUGIN", MagicCookieValue: "tandem"}

// These variables of the environment tell a plugin what it was given. The numbers are file descriptors.
const (
	EnvArenaFD   = "RUNNER_ARENA_FD"   // the arena, for reading and writing
	EnvArenaSize = "RUNNER_ARENA_SIZE" // its size in bytes
	EnvParentFD  = "RUNNER_PARENT_FD"  // a pipe's end; EOF: the runner has ended, so should the plugin
)

// EnvColocated tells a program that holds several plugins which of them to serve: full names as a JSON list. A plugin may
// stand there more than once. The i-th, counted from 0, listens at ColocatedSocket.
const EnvColocated = "RUNNER_COLOCATED"

// ColocatedSocket returns where the i-th plugin of EnvColocated listens: in go-plugin's folder of sockets.
func ColocatedSocket(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("plugin-%d", i))
}

// MaxMessageBytes limits a gRPC message on both sides to 2 GiB, the most that protobuf can hold.
const MaxMessageBytes = 1<<31 - 1

// pluginName names the one entry of a go-plugin plugin set.
const pluginName = "tandem"

// ClientPlugins returns the plugin set of the runner's side by protocol version; Dispense returns its
// connection. The map is a new one each time, because go-plugin writes to it.
func ClientPlugins() map[int]plugin.PluginSet {
	sets := map[int]plugin.PluginSet{}
	for version := clip.OldestProtocol; version <= clip.ProtocolVersion; version++ {
		sets[version] = plugin.PluginSet{pluginName: &grpcPlugin{}}
	}
	return sets
}

// Dispense returns the gRPC connection of a started go-plugin client that was given ClientPlugins.
func Dispense(p plugin.ClientProtocol) (grpc.ClientConnInterface, error) {
	raw, err := p.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return raw.(*grpc.ClientConn), nil
}

// ServerPlugins returns the plugin set of the plugin's side. register puts the services on the server.
func ServerPlugins(register func(grpc.ServiceRegistrar)) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{clip.ProtocolVersion: {pluginName: &grpcPlugin{register: register}}}
}

type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	register func(grpc.ServiceRegistrar)
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.register == nil {
		return errors.New("wire: nothing to serve")
	}
	p.register(s)
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}
