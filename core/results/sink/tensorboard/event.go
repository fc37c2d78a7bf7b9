package tensorboard

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tandem/core/clip"
)

// The encoders below write the few messages of tensorflow/core/util/event.proto, framework/summary.proto and TensorBoard's
// plugins/hparams/plugin_data.proto that are needed. The numbers are those of their fields.

// fileVersion begins every event file.
const fileVersion = "brain.Event:2"

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), strings.ToValidUTF8(s, "�"))
}

func appendBytes(b []byte, field protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), data)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}

// appendEvent adds what every Event begins with: wall_time, in seconds, and step.
func appendEvent(b []byte, at time.Time, step int) []byte {
	b = appendDouble(b, 1, seconds(at))
	if step == 0 {
		return b
	}
	return appendVarint(b, 2, uint64(step))
}

func seconds(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }

// appendVersion adds the Event that begins a file.
func appendVersion(b []byte, at time.Time) []byte {
	return appendText(appendEvent(b, at, 0), 3, fileVersion)
}

// appendStart adds the Event that says that a session starts at a step: readers forget what they have from it on.
func appendStart(b []byte, at time.Time, step int) []byte {
	return appendBytes(appendEvent(b, at, step), 7, appendVarint(nil, 1, 1)) // session_log.status: START
}

// appendScalars adds an Event with values of a step. Scratch is for the parts; both are returned.
func appendScalars(b, scratch []byte, at time.Time, step int, values []clip.Metric) (event, part []byte) {
	b = appendEvent(b, at, step)
	size := 0
	for _, v := range values {
		size += protowire.SizeTag(1) + protowire.SizeBytes(scalarSize(v))
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.BytesType), uint64(size)) // summary
	for _, v := range values {
		scratch = appendScalar(scratch[:0], v)
		b = appendBytes(b, 1, scratch) // summary.value
	}
	return b, scratch
}

// appendScalar adds a Summary.Value: tag and simple_value, a float32.
func appendScalar(b []byte, v clip.Metric) []byte {
	b = appendText(b, 1, v.Name)
	return protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), math.Float32bits(float32(v.Value)))
}

func scalarSize(v clip.Metric) int {
	return protowire.SizeTag(1) + protowire.SizeBytes(len(strings.ToValidUTF8(v.Name, "�"))) + protowire.SizeTag(2) + protowire.SizeFixed32()
}

// appendPlugin adds an Event with one value for a plugin of TensorBoard. Content is what the plugin reads of the metadata, nil: nothing;
// tensor is the value, a TensorProto.
func appendPlugin(b []byte, at time.Time, step int, tag, plugin string, content, tensor []byte) []byte {
	data := appendText(nil, 1, plugin) // plugin_data.plugin_name
	if content != nil {
		data = appendBytes(data, 2, content)
	}
	metadata := appendVarint(appendBytes(nil, 1, data), 4, 2) // data_class: TENSOR
	value := appendBytes(appendBytes(appendText(nil, 1, tag), 8, tensor), 9, metadata)
	return appendBytes(appendEvent(b, at, step), 5, appendBytes(nil, 1, value))
}

// textTensor returns a TensorProto of one string. Its shape is [1].
func textTensor(text string) []byte {
	shape := appendBytes(nil, 2, appendVarint(nil, 1, 1))
	b := appendBytes(appendVarint(nil, 1, 7), 2, shape) // dtype: DT_STRING
	return appendBytes(b, 8, []byte(strings.ToValidUTF8(text, "�")))
}

// emptyTensor returns a TensorProto of a float32 without elements, which is what hparams values carry.
func emptyTensor() []byte { return appendBytes(appendVarint(nil, 1, 1), 2, appendBytes(nil, 2, nil)) }

// sessionStart returns the HParamsPluginData that tells the settings of a run.
func sessionStart(params map[string]any, group string, at time.Time) []byte {
	var info []byte
	for _, name := range slices.Sorted(maps.Keys(params)) {
		entry := appendBytes(appendText(nil, 1, name), 2, hyperparameter(params[name]))
		info = appendBytes(info, 1, entry)
	}
	info = appendText(info, 4, group)
	info = appendDouble(info, 5, seconds(at))
	return appendBytes(nil, 3, info)
}

// sessionEnd returns the HParamsPluginData that tells how a run ended.
func sessionEnd(status clip.Status, at time.Time) []byte {
	result := uint64(2) // STATUS_FAILURE
	if status == clip.StatusDone {
		result = 1
	}
	return appendBytes(nil, 4, appendDouble(appendVarint(nil, 1, result), 2, seconds(at)))
}

// hyperparameter returns a google.protobuf.Value: a number, a bool or a text.
func hyperparameter(value any) []byte {
	switch v := value.(type) {
	case bool:
		return appendVarint(nil, 4, protowire.EncodeBool(v))
	case int64:
		return appendDouble(nil, 2, float64(v))
	case float64:
		return appendDouble(nil, 2, v)
	case string:
		return appendText(nil, 3, v)
	}
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte(err.Error())
	}
	return appendText(nil, 3, string(text))
}
