"""The messages of tandem.proto. They are made from its compiled description, so that any protobuf ≥ 4.22 will do."""

import os

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _load():
    with open(os.path.join(os.path.dirname(__file__), "tandem.binpb"), "rb") as f:
        files = descriptor_pb2.FileDescriptorSet.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    file = pool.FindFileByName("tandem.proto")
    messages = {name: message_factory.GetMessageClass(d) for name, d in file.message_types_by_name.items()}
    services = {}
    for name, service in file.services_by_name.items():
        services[name] = {m.name: (messages[m.input_type.name], messages[m.output_type.name]) for m in service.methods}
    return file.package, messages, services


package, messages, services = _load()
globals().update(messages)


def has(message, field):
    """Reports whether a message has a field that is set; False also when this version of it has no such field."""
    return field in message.DESCRIPTOR.fields_by_name and (
        message.HasField(field) if message.DESCRIPTOR.fields_by_name[field].has_presence else bool(getattr(message, field)))
