package store

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"os"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Predictions are kept in two blobs, since the examples of an evaluation are the same every time.
//
// The example set: byte 1 (version), then DEFLATE of: per example uvarint length of the key, the
// key, zigzag varint of the label.
//
// The outcomes: byte 1 (version), then per example uvarint count of top, that many uvarint class
// ids, and the score as a little-endian float32.
const packVersion = 1

func packExamples(p []clip.Prediction) []byte {
	var packed bytes.Buffer
	packed.WriteByte(packVersion)
	z, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		panic(err) // only an unknown level fails
	}
	var b []byte
	for i := range p {
		b = binary.AppendUvarint(b[:0], uint64(len(p[i].Key)))
		b = append(b, p[i].Key...)
		b = binary.AppendVarint(b, int64(p[i].Label))
		z.Write(b) // a bytes.Buffer takes everything
	}
	z.Close()
	return packed.Bytes()
}

func packOutcomes(p []clip.Prediction) []byte {
	b := []byte{packVersion}
	for i := range p {
		b = binary.AppendUvarint(b, uint64(len(p[i].Top)))
		for _, class := range p[i].Top {
			b = binary.AppendUvarint(b, uint64(uint32(class)))
		}
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(p[i].Score))
	}
	return b
}

// unpack restores the n predictions of both blobs; fault.Corrupt when they do not hold them.
func unpack(examples, outcomes []byte, n int) ([]clip.Prediction, error) {
	bad := func() ([]clip.Prediction, error) {
		return nil, fault.New(fault.Corrupt, "stored predictions do not hold the %d examples they should", n)
	}
	if len(examples) == 0 || len(outcomes) == 0 || examples[0] != packVersion || outcomes[0] != packVersion {
		return bad()
	}
	keys, err := io.ReadAll(flate.NewReader(bytes.NewReader(examples[1:])))
	if err != nil {
		return bad()
	}
	out := outcomes[1:]
	if n < 0 || n > len(keys) {
		return bad()
	}
	p := make([]clip.Prediction, n)
	for i := range p {
		length, used := binary.Uvarint(keys)
		if used <= 0 || length > uint64(len(keys)-used) {
			return bad()
		}
		p[i].Key = string(keys[used : used+int(length)])
		keys = keys[used+int(length):]
		label, used := binary.Varint(keys)
		if used <= 0 {
			return bad()
		}
		p[i].Label, keys = int32(label), keys[used:]

		count, used := binary.Uvarint(out)
		if used <= 0 || count > uint64(len(out)) {
			return bad()
		}
		out = out[used:]
		p[i].Top = make([]int32, count)
		for j := range p[i].Top {
			class, used := binary.Uvarint(out)
			if used <= 0 {
				return bad()
			}
			p[i].Top[j], out = int32(class), out[used:]
		}
		if len(out) < 4 {
			return bad()
		}
		p[i].Score, out = math.Float32frombits(binary.LittleEndian.Uint32(out)), out[4:]
	}
	if len(keys) != 0 || len(out) != 0 {
		return bad()
	}
	return p, nil
}

func countCorrect(p []clip.Prediction) int {
	n := 0
	for i := range p {
		if len(p[i].Top) > 0 && p[i].Top[0] == p[i].Label {
			n++
		}
	}
	return n
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// FileDigest is the hex sha256 and the size of a file, for Run.Artifact.
func FileDigest(path string) (sha string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fault.New(fault.NotFound, "%w", err)
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	if err != nil {
		return "", 0, fault.New(fault.Internal, "%w", err).WithFile(path, 0, 0)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
