// Package sdk serves the plugins that an author writes. A plugin is one folder with a main.go such as
//
//	package main
//
//	import "tandem/core/plugin/sdk"
//
//	func main() { sdk.ServeEncoder(Plugin) }
//
// and beside it the model, with its description:
//
//	// Config is the with block of a spec.
//	type Config struct {
//		Width int     `with:"width" min:"1" help:"channels of a token"`
//		Pool  string  `with:"pool" enum:"mean,cls" help:"how tokens become one vector"`
//		Drop  float64 `with:"patch_dropout" min:"0" max:"0.9" help:"share of patches left out in training"`
//	}
//
//	var Plugin = sdk.Encoder{
//		Name: "vit", Version: "1.0.0", Modality: clip.Image,
//		Summary: "vision transformer",
//		Config:  Config{Width: 256, Pool: "cls"}, // the defaults
//		New:     func() clip.Encoder { return &encoder{} },
//	}
//
// In Configure the author calls Decode with a copy of the defaults. This package takes care of the process,
// the protocol, shared memory, panics, cancellation and the end of the runner.
package sdk

import (
	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/plugin/wire"
)

// Encoder describes an encoder plugin.
type Encoder struct {
	Name         string // the last element of the plugin's name: vit
	Version      string // of the plugin, semantic: 1.0.0
	Summary      string // one line
	Modality     clip.Modality
	Capabilities []string // clip.CapVocabulary, …
	Outputs      []string // clip.OutputTokens, of a clip.TokenEncoder
	// Config holds the defaults of the options: a value of a struct whose with tags make the schema (see
	// Schema). It is nil for a plugin without options.
	Config    any
	Relations []clip.Relation
	// New returns an unconfigured instance. It is called once in a process.
	New func() clip.Encoder
}

// Descriptor returns the description as the runner sees it. It panics when Config is not a struct that Schema
// understands.
func (e Encoder) Descriptor() clip.Descriptor {
	return clip.Descriptor{
		Kind: clip.KindEncoder, Name: e.Name, Version: e.Version, Protocol: clip.ProtocolVersion,
		Modality: e.Modality, Summary: e.Summary, Capabilities: e.Capabilities, Outputs: e.Outputs,
		Schema: Schema(e.Config), Relations: e.Relations,
	}
}

// Loss describes a loss plugin. Its fields mean what Encoder's do.
type Loss struct {
	Name, Version, Summary string
	Capabilities           []string
	// Inputs lists what the loss takes beside image and text: clip.InputGroups, …
	Inputs    []string
	Config    any
	Relations []clip.Relation
	New       func() clip.Loss
}

// Descriptor returns the description as the runner sees it. It panics as Encoder.Descriptor does.
func (l Loss) Descriptor() clip.Descriptor {
	return clip.Descriptor{
		Kind: clip.KindLoss, Name: l.Name, Version: l.Version, Protocol: clip.ProtocolVersion,
		Summary: l.Summary, Capabilities: l.Capabilities, Inputs: l.Inputs,
		Schema: Schema(l.Config), Relations: l.Relations,
	}
}

// Dataset describes a dataset plugin. Its fields mean what Encoder's do.
type Dataset struct {
	Name, Version, Summary string
	Capabilities           []string
	Config                 any
	Relations              []clip.Relation
	// Sizes say how many samples a with block will give, where that is known without opening it.
	Sizes []clip.Size
	New   func() clip.Dataset
}

// Descriptor returns the description as the runner sees it. It panics as Encoder.Descriptor does.
func (d Dataset) Descriptor() clip.Descriptor {
	return clip.Descriptor{
		Kind: clip.KindDataset, Name: d.Name, Version: d.Version, Protocol: clip.ProtocolVersion,
		Summary: d.Summary, Capabilities: d.Capabilities,
		Schema: Schema(d.Config), Relations: d.Relations, Sizes: d.Sizes,
	}
}

// ServeEncoder serves an encoder plugin; its main function calls nothing else. It returns only when the process
// is to end. Started by hand it prints what the plugin is.
func ServeEncoder(e Encoder) { serve(e.Descriptor(), instance{encoder: e.New}) }

// ServeLoss serves a loss plugin; see ServeEncoder.
func ServeLoss(l Loss) { serve(l.Descriptor(), instance{loss: l.New}) }

// ServeDataset serves a dataset plugin; see ServeEncoder.
func ServeDataset(d Dataset) { serve(d.Descriptor(), instance{dataset: d.New}) }

// instance holds the constructor of the one kind that is served.
type instance struct {
	encoder func() clip.Encoder
	loss    func() clip.Loss
	dataset func() clip.Dataset
}

// register puts a new instance on a server.
func (i instance) register(server *wire.Server, r grpc.ServiceRegistrar) {
	switch {
	case i.encoder != nil:
		server.Encoder(r, i.encoder())
	case i.loss != nil:
		server.Loss(r, i.loss())
	case i.dataset != nil:
		server.Dataset(r, i.dataset())
	}
}
