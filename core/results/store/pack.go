package store

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"

	"tandem/core/clip"
	"tandem/core/fault"
)

// packVersion marks the two blobs that hold predictions. There are two, since the examples of an evaluation are the same every
// time.
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
	var p []clip.Prediction
	err := unpackExamples(examples, n, func(key []byte, label int32) {
		p = append(p, clip.Prediction{Key: string(key), Label: label, Top: []int32{}})
	})
	if err != nil {
		return nil, err
	}
	err = unpackOutcomes(outcomes, n, func(i int, class int32) { p[i].Top = append(p[i].Top, class) },
		func(i int, score float32) { p[i].Score = score })
	return p, err
}

func badPredictions(n int) error {
	return fault.New(fault.Corrupt, "stored predictions do not hold the %d examples they should", n)
}

// unpackLimit bounds what keys and labels may unpack to: a megabyte can be packed to hold gigabytes.
const unpackLimit = 256 << 20

// unpackExamples calls f for the key and the label of each of n examples.
func unpackExamples(packed []byte, n int, f func(key []byte, label int32)) error {
	if len(packed) == 0 || packed[0] != packVersion {
		return badPredictions(n)
	}
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed[1:])), unpackLimit+1))
	if err != nil || len(b) > unpackLimit {
		return badPredictions(n)
	}
	for range n {
		length, used := binary.Uvarint(b)
		if used <= 0 || length > uint64(len(b)-used) {
			return badPredictions(n)
		}
		key, rest := b[used:used+int(length)], b[used+int(length):]
		label, used := binary.Varint(rest)
		if used <= 0 {
			return badPredictions(n)
		}
		f(key, int32(label))
		b = rest[used:]
	}
	if n < 0 || len(b) != 0 {
		return badPredictions(n)
	}
	return nil
}

// unpackOutcomes calls class for each class of each of n outcomes, the likeliest first, then score.
func unpackOutcomes(packed []byte, n int, class func(i int, class int32), score func(i int, score float32)) error {
	if len(packed) == 0 || packed[0] != packVersion {
		return badPredictions(n)
	}
	b := packed[1:]
	for i := range n {
		count, used := binary.Uvarint(b)
		if used <= 0 || count > uint64(len(b)) {
			return badPredictions(n)
		}
		b = b[used:]
		for range count {
			c, used := binary.Uvarint(b)
			if used <= 0 {
				return badPredictions(n)
			}
			class(i, int32(c))
			b = b[used:]
		}
		if len(b) < 4 {
			return badPredictions(n)
		}
		score(i, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		b = b[4:]
	}
	if n < 0 || len(b) != 0 {
		return badPredictions(n)
	}
	return nil
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
