package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"testing"

	"tandem/core/fault"
)

// An npm archive is unpacked to its wanted files only, and none outside the folder.
func TestUnpackTakesTheWantedFiles(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "x.tgz")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	zip := gzip.NewWriter(f)
	out := tar.NewWriter(zip)
	for _, name := range []string{"package/package.json", "package/img/google/64/1f600.png", "package/img/google/32/1f600.png", "package/../../emoji.json", "package/sheet.png"} {
		if err := out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 2, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []interface{ Close() error }{out, zip, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := unpack(archive, dir, packages[0]); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, filepath.ToSlash(rel))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != "emoji-datasource-google/img/google/64/1f600.png" || got[1] != "emoji-datasource-google/package.json" {
		t.Errorf("unpacked %v", got)
	}
}

func TestWithoutNpmTheCommandsAreTold(t *testing.T) {
	t.Setenv("PATH", "")
	err := get(context.Background(), t.TempDir(), func(string) {})
	f, _ := err.(*fault.Error)
	if f == nil || f.Kind != fault.Unavailable || f.Detail == "" {
		t.Errorf("error %v", err)
	}
}
