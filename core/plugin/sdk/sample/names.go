package sample

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// FromNames does what FromList does with names that may be addresses. Then nothing is looked at before it is read: Pixels stands for
// the names, and what is not there is a sample that cannot be read. store lives as long as the set.
func (s *Set) FromNames(ctx context.Context, c clip.DatasetConfig, store *object.Store, n int, name func(k int) string, file func(i int) int,
	o vision.Options) error {
	far := 0
	for k := range n {
		if object.IsAddress(name(k)) {
			far++
		}
	}
	if far == 0 {
		return s.FromList(ctx, c, n, name, file, o)
	}
	h := sha256.New()
	for i := range s.Len() {
		frame(h, s.At(i).Key)
		frame(h, name(file(i)))
	}
	s.Pixels = hex.EncodeToString(h.Sum(nil))
	s.Note += fmt.Sprintf("; the digest stands for the names of the pictures: %d of %d are addresses, and are not looked at before they are read", far, n)
	if far < n {
		s.File = func(i int) string {
			if name := name(file(i)); !object.IsAddress(name) {
				return name
			}
			return ""
		}
	}
	s.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) {
		return ReadPictureFrom(ctx, store, name(file(i)), o)
	}
	return nil
}

// ReadPictureFrom does what ReadPicture does with a name that may be an address.
func ReadPictureFrom(ctx context.Context, store *object.Store, name string, o vision.Options) (vision.Picture, error) {
	if !object.IsAddress(name) {
		return ReadPicture(name, o)
	}
	data, err := readObject(ctx, store, name)
	if err != nil {
		return vision.Picture{}, err
	}
	return vision.DecodeFile(name, data, o)
}

// readObject reads a whole object of the length of a picture.
func readObject(ctx context.Context, store *object.Store, name string) ([]byte, error) {
	obj, err := store.Open(ctx, name)
	switch {
	case err == nil:
	case fault.KindOf(err) == fault.NotFound:
		return nil, fault.New(fault.NotFound, "%w", err).WithReason(reasonMissing)
	case fault.KindOf(err) == fault.Unavailable:
		return nil, fault.New(fault.Unavailable, "%w", err).WithReason(clip.ReasonStore)
	default:
		return nil, err
	}
	defer obj.Close()
	if obj.Size() > vision.MaxFileBytes {
		return nil, fault.New(fault.Invalid, "the file is longer than %d bytes, the most that is read of such a file", vision.MaxFileBytes).WithFile(name, 0, 0)
	}
	data := make([]byte, obj.Size())
	if n, err := object.ReadAt(ctx, obj, data, 0); n < len(data) {
		return nil, err
	}
	return data, nil
}
