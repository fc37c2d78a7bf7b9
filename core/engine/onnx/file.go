// Package onnx writes models in the format of ONNX (https://onnx.ai, IR version 8, operators of version 17), which ONNX
// Runtime and other programs run.
//
// Export translates an expression graph: kernels become operators, parameters initializers. It knows no towers.
package onnx

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"tandem/core/fault"
)

// The versions of the format that files are written in. LayerNormalization came with operators of version 17.
const (
	irVersion = 8
	opset     = 17
)

// Type numbers element types as TensorProto.DataType does.
type Type int

// The element types that models here have.
const (
	Float Type = 1
	Int64 Type = 7
	Bool  Type = 9
)

// Value describes an input or an output. Dims below 0 are the batch, which is not fixed.
type Value struct {
	Name string
	Type Type
	Dims []int
}

// Tensor holds a constant, little-endian and row-major.
type Tensor struct {
	Name string
	Type Type
	Dims []int
	Data []byte
}

// Attribute holds a setting of a node: an int64, float32, string or []int64.
type Attribute struct {
	Name  string
	Value any
}

// Node applies an operator.
type Node struct {
	Op         string
	In, Out    []string
	Name       string
	Attributes []Attribute
}

// Model is a graph with what is to know about it.
type Model struct {
	Name            string
	Doc             string // for people
	Version         string // of the program that wrote it
	Nodes           []Node
	Inputs, Outputs []Value
	Tensors         []Tensor
	Metadata        []Property
}

// Property is an entry of a model's metadata.
type Property struct{ Key, Value string }

// The numbers of fields in onnx.proto3.
const (
	modelIR, modelProducer, modelVersion, modelGraph, modelOpset, modelMetadata     = 1, 2, 3, 7, 8, 14
	graphNode, graphName, graphTensor, graphDoc, graphInput, graphOutput            = 1, 2, 5, 10, 11, 12
	nodeIn, nodeOut, nodeName, nodeOp, nodeAttribute                                = 1, 2, 3, 4, 5
	attributeName, attributeF, attributeI, attributeS, attributeInts, attributeType = 1, 2, 3, 4, 8, 20
	tensorDims, tensorType, tensorName, tensorRaw                                   = 1, 2, 8, 9
)

// maxBytes is the most that a message of protobuf holds.
const maxBytes = math.MaxInt32

// Encode returns the bytes of the file. A model of over 2 GiB is fault.Unavailable.
func (m Model) Encode() ([]byte, error) {
	total := 0
	for _, t := range m.Tensors {
		total += len(t.Data)
	}
	if total > maxBytes-1<<20 {
		return nil, fault.New(fault.Unavailable, "the model has %d bytes of parameters, and a file of ONNX holds 2 GiB", total)
	}
	graph := make([]byte, 0, total+1<<20)
	for _, n := range m.Nodes {
		graph = message(graph, graphNode, n.encode())
	}
	graph = text(graph, graphName, m.Name)
	for _, t := range m.Tensors {
		graph = message(graph, graphTensor, t.encode())
	}
	graph = text(graph, graphDoc, m.Doc)
	for _, v := range m.Inputs {
		graph = message(graph, graphInput, v.encode())
	}
	for _, v := range m.Outputs {
		graph = message(graph, graphOutput, v.encode())
	}
	out := make([]byte, 0, len(graph)+1<<12)
	out = number(out, modelIR, irVersion)
	out = text(out, modelProducer, "tandem")
	out = text(out, modelVersion, m.Version)
	out = message(out, modelGraph, graph)
	out = message(out, modelOpset, number(nil, 2, opset))
	return append(out, Metadata(m.Metadata)...), nil
}

// Metadata returns bytes that add entries to the metadata of a model when they stand behind its file's.
func Metadata(list []Property) (out []byte) {
	for _, p := range list {
		out = message(out, modelMetadata, text(text(nil, 1, p.Key), 2, p.Value))
	}
	return out
}

func (n Node) encode() (out []byte) {
	for _, name := range n.In {
		out = text(out, nodeIn, name)
	}
	for _, name := range n.Out {
		out = text(out, nodeOut, name)
	}
	out = text(text(out, nodeName, n.Name), nodeOp, n.Op)
	for _, a := range n.Attributes {
		out = message(out, nodeAttribute, a.encode())
	}
	return out
}

func (a Attribute) encode() []byte {
	out := text(nil, attributeName, a.Name)
	switch v := a.Value.(type) {
	case float32:
		out = protowire.AppendFixed32(protowire.AppendTag(out, attributeF, protowire.Fixed32Type), math.Float32bits(v))
		return number(out, attributeType, 1)
	case int64:
		return number(number(out, attributeI, v), attributeType, 2)
	case string:
		return number(text(out, attributeS, v), attributeType, 3)
	case []int64:
		for _, i := range v {
			out = number(out, attributeInts, i)
		}
		return number(out, attributeType, 7)
	}
	panic("onnx: an attribute of another type")
}

func (t Tensor) encode() []byte {
	out := make([]byte, 0, len(t.Data)+256)
	for _, d := range t.Dims {
		out = number(out, tensorDims, int64(d))
	}
	out = text(number(out, tensorType, int64(t.Type)), tensorName, t.Name)
	return message(out, tensorRaw, t.Data)
}

func (v Value) encode() []byte {
	var shape []byte
	for _, d := range v.Dims {
		if d < 0 {
			shape = message(shape, 1, text(nil, 2, "batch"))
		} else {
			shape = message(shape, 1, number(nil, 1, int64(d)))
		}
	}
	tensor := message(number(nil, 1, int64(v.Type)), 2, shape)
	return message(text(nil, 1, v.Name), 2, message(nil, 1, tensor))
}

func message(to []byte, field protowire.Number, data []byte) []byte {
	to = slices.Grow(to, len(data)+16)
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), data)
}

func text(to []byte, field protowire.Number, s string) []byte { return message(to, field, []byte(s)) }

func number(to []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), uint64(v))
}
