package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
)

// blobs is a folder of pictures by their addresses. What is in it was got once and is not got again.
type blobs struct{ dir string }

func (b *blobs) path(address string) string {
	sum := sha256.Sum256([]byte(address))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(b.dir, name[:2], name)
}

func (b *blobs) has(address string) bool {
	_, err := os.Stat(b.path(address))
	return err == nil
}

func (b *blobs) get(address string) ([]byte, error) { return files.Read(b.path(address), maxPicture) }

// put keeps a picture, whole or not at all.
func (b *blobs) put(address string, data []byte) error {
	path := b.path(address)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Exhausted, "%w", err)
	}
	_, err := leftover.Replace(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err).WithFile(path, 0, 0)
	}
	return nil
}
