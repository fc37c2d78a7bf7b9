"""Writes core/results/sink/tensorboard/testdata/*.hex with TensorBoard's own protobuf classes and checksums (tensorboard 2.21.0)."""

import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams import plugin_data_pb2

AT = 1_700_000_000.25
FOLDER = pathlib.Path(__file__).parents[2] / "core/results/sink/tensorboard/testdata"


def record(event):
    data = event.SerializeToString(deterministic=True)
    head = len(data).to_bytes(8, "little")
    return head + masked_crc32c(head).to_bytes(4, "little") + data + masked_crc32c(data).to_bytes(4, "little")


def plugin(tag, name, content, tensor):
    metadata = summary_pb2.SummaryMetadata(data_class=summary_pb2.DATA_CLASS_TENSOR)
    metadata.plugin_data.plugin_name = name
    if content is not None:
        metadata.plugin_data.content = content.SerializeToString(deterministic=True)
    value = summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
    return event_pb2.Event(wall_time=AT, summary=summary_pb2.Summary(value=[value]))


def empty():
    tensor = tensor_pb2.TensorProto(dtype=1)
    tensor.tensor_shape.dim.add()
    return tensor


def main():
    FOLDER.mkdir(exist_ok=True)
    scalars = event_pb2.Event(wall_time=AT, step=7)
    scalars.summary.value.add(tag="train/loss", simple_value=0.1)
    scalars.summary.value.add(tag="eval/ü", simple_value=float("inf"))
    text = tensor_pb2.TensorProto(dtype=7, string_val=[b"    a: 1"])
    text.tensor_shape.dim.add(size=1)
    begin = plugin_data_pb2.HParamsPluginData()
    begin.session_start_info.hparams["a.b"].number_value = 3
    begin.session_start_info.hparams["list"].string_value = '["p",2]'
    begin.session_start_info.hparams["on"].bool_value = True
    begin.session_start_info.hparams["s"].string_value = "x"
    begin.session_start_info.group_name = "id"
    begin.session_start_info.start_time_secs = AT
    end = plugin_data_pb2.HParamsPluginData()
    end.session_end_info.status = 1
    end.session_end_info.end_time_secs = AT
    start = event_pb2.Event(wall_time=AT, step=41)
    start.session_log.status = event_pb2.SessionLog.START
    for name, event in {
        "version": event_pb2.Event(wall_time=AT, file_version="brain.Event:2"), "start": start, "scalars": scalars,
        "text": plugin("spec", "text", None, text),
        "hparams": plugin("_hparams_/session_start_info", "hparams", begin, empty()),
        "end": plugin("_hparams_/session_end_info", "hparams", end, empty()),
    }.items():
        (FOLDER / f"{name}.hex").write_text(record(event).hex() + "\n")


main()
