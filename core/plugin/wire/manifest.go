package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Manifest has the content of the file <binary>.json beside a plugin: its descriptor, which is valid only for
// the binary with this checksum. `<binary> --manifest` prints it.
type Manifest struct {
	SHA256     string          `json:"sha256"` // hex
	Descriptor clip.Descriptor `json:"descriptor"`
}

// ColocatedManifest has the content of the file beside the program that serves several plugins in one process: its own
// checksum, and by full name (encoders/vit) those of the plugins' own programs of the same build.
type ColocatedManifest struct {
	SHA256  string            `json:"sha256"` // hex
	Plugins map[string]string `json:"plugins"`
}

// SHA256 returns the checksum of a file in hex.
func SHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.New(fault.NotFound, "%w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fault.New(fault.Corrupt, "%w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
