package shard

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAWrittenShardHasItsMembersInOrderAndTheSameBytesAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) (string, Sum) {
		path := filepath.Join(dir, name)
		sum, err := Write(path, func(add func(string, ...Member) error) error {
			for _, key := range []string{"000", "001"} {
				if err := add(key, Member{"jpg", []byte("picture " + key)}, Member{"txt", []byte("caption")}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return path, sum
	}
	path, sum := write("a.tar")
	if _, again := write("b.tar"); again != sum || sum.Samples != 2 {
		t.Errorf("%+v, then %+v", sum, again)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(data); sum.SHA256 != hex.EncodeToString(want[:]) || sum.Bytes != int64(len(data)) {
		t.Errorf("%+v of %d bytes", sum, len(data))
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if want := []string{"000.jpg", "000.txt", "001.jpg", "001.txt"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestAShardThatIsNotFinishedIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	stop := errors.New("stop")
	for _, key := range []string{"", "a.b", "a/b", "000"} {
		_, err := Write(path, func(add func(string, ...Member) error) error {
			if err := add("000", Member{"jpg", nil}); err != nil {
				return err
			}
			if err := add(key); err == nil {
				t.Errorf("the key %q was taken", key)
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Errorf("%v", err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
