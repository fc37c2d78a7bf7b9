package files

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// Digest returns the SHA-256 of a regular file in hex. Errors are those of Open.
func Digest(path string) (string, error) {
	f, err := Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err = io.Copy(h, f); err != nil {
		return "", Error(path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
