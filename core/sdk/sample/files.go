package sample

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strconv"

	"tandem/core/fault"
	"tandem/core/vision"
)

// ReadPicture reads and decodes a picture file; the error carries the file.
func ReadPicture(path string, o vision.Options) (vision.Picture, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return vision.Picture{}, FileError(path, err)
	}
	p, err := vision.Decode(data, o)
	var e *fault.Error
	if errors.As(err, &e) {
		e.File = path
	}
	return p, err
}

// FileError gives an error of the file system its kind and file.
func FileError(path string, err error) error {
	kind := fault.Internal
	switch {
	case errors.Is(err, os.ErrNotExist):
		kind = fault.NotFound
	case errors.Is(err, os.ErrPermission):
		kind = fault.Unavailable
	}
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err // the file is already named
	}
	return fault.New(kind, "%w", err).WithFile(path, 0, 0)
}

// digestBytes is how much of the files' contents DigestFiles reads at most.
const digestBytes = 256 << 20

// DigestFiles is a sha256 over files: their names as given in names, sizes and, as long as they are
// under 256 MiB together, contents. Larger collections are told apart by names and sizes alone, since
// reading them would take longer than opening the dataset may. Files that cannot be read count as
// absent.
func DigestFiles(ctx context.Context, paths, names []string) (string, error) {
	h := sha256.New()
	sizes, total := make([]int64, len(paths)), int64(0)
	for i, p := range paths {
		sizes[i] = -1
		if st, err := os.Stat(p); err == nil {
			sizes[i] = st.Size()
			total += st.Size()
		}
	}
	for i, p := range paths {
		if err := canceled(ctx); err != nil {
			return "", err
		}
		frame(h, names[i])
		frame(h, strconv.FormatInt(sizes[i], 10))
		if total > digestBytes || sizes[i] < 0 {
			continue
		}
		if f, err := os.Open(p); err == nil {
			_, err = io.Copy(h, f)
			f.Close()
			if err != nil {
				frame(h, "unreadable")
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
