package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

func TestAnnotationsAndPicturesMayLieOnAServer(t *testing.T) {
	dir := unpacked(t, map[string]string{"dataset_coco.json": karpathy})
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	b, _ := all(t, map[string]any{"annotations": server.URL + "/dataset_coco.json", "root": server.URL})
	if len(b.Keys) != 4 || len(b.Faults) > 0 || !slices.Equal([]byte{10, 20}, []byte{b.Images.U8()[0], b.Images.U8()[48]}) {
		t.Errorf("%q, %+v", b.Keys, b.Faults)
	}
	if _, _, err := configure(t, map[string]any{"annotations": server.URL + "/dataset_coco.json"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "with.root") {
		t.Errorf("without root: %v", err)
	}
}
