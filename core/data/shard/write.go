package shard

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"time"

	"tandem/core/fault"
	"tandem/core/files/leftover"
)

// Member holds one file of a sample that is written: Ending is what its name has behind the key and a dot.
type Member struct {
	Ending string
	Data   []byte
}

// Sum tells what a written shard holds.
type Sum struct {
	Samples int    `json:"samples"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // hex
}

// Write writes a shard whole or not at all. fill calls add for each sample, in order. The bytes depend on what is added alone:
// no times, no owners.
func Write(path string, fill func(add func(key string, members ...Member) error) error) (Sum, error) {
	var sum Sum
	hash := sha256.New()
	size, err := leftover.Replace(path, func(f *os.File) error {
		out := bufio.NewWriterSize(f, 1<<20)
		w := tar.NewWriter(io.MultiWriter(out, hash))
		last := ""
		if err := fill(func(key string, members ...Member) error {
			if key == "" || key == last || strings.ContainsAny(key, "./\\\x00") {
				return fault.New(fault.Invalid, "%q cannot be the key of a sample behind %q", key, last)
			}
			last = key
			for _, m := range members {
				h := tar.Header{Typeflag: tar.TypeReg, Name: key + "." + m.Ending, Size: int64(len(m.Data)), Mode: 0o644, ModTime: time.Unix(0, 0)}
				if err := w.WriteHeader(&h); err != nil {
					return fault.New(fault.Exhausted, "%w", err)
				}
				if _, err := w.Write(m.Data); err != nil {
					return fault.New(fault.Exhausted, "%w", err)
				}
			}
			sum.Samples++
			return nil
		}); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		if fault.KindOf(err) == fault.Internal {
			err = fault.New(fault.Exhausted, "%w", err).WithFile(path, 0, 0)
		}
		return Sum{}, err
	}
	sum.Bytes, sum.SHA256 = size, hex.EncodeToString(hash.Sum(nil))
	return sum, nil
}
