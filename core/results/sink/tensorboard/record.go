package tensorboard

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked returns the checksum of TFRecord files: CRC-32C, rotated and shifted so that a checksum of data that holds checksums differs.
func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// appendRecord adds a record of a TFRecord file: length, its checksum, the data, its checksum; all little endian.
func appendRecord(out, data []byte) []byte {
	at := len(out)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out[at:]))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, masked(data))
}
