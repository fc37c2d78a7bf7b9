package tokens

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

func TestCLIPsTokensAreShownAndCut(t *testing.T) {
	r, err := Named("clip", -1, []string{"a photo of a cat", strings.Repeat("cat ", 100)})
	if err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for _, x := range r.Texts[0].Tokens {
		ids = append(ids, x.ID)
	}
	if !slices.Equal(ids, []int32{49406, 320, 1125, 539, 320, 2368, 49407}) || r.Texts[0].Tokens[5].Piece != "cat</w>" || r.Texts[0].Cut {
		t.Errorf("%+v", r.Texts[0])
	}
	long := r.Texts[1]
	if !long.Cut || long.Count != 102 || len(long.Kept) != 77 || long.Kept[76] != 49407 || r.ContextLength != 77 || r.VocabSize != 49408 {
		t.Errorf("%d tokens, cut %v to %d", long.Count, long.Cut, len(long.Kept))
	}
}

func TestTokenizersOfFilesAreToldByTheirNames(t *testing.T) {
	r, err := Named("../../media/token/hf/testdata/wordpiece.json", -1, []string{"A cat"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Texts[0].Tokens; len(got) != 4 || got[0].Piece != "[CLS]" || got[2].Piece != "cat" {
		t.Errorf("%+v", got)
	}
	if r, err = Named("../../media/token/testdata/merges.txt", 3, []string{"a cat on a mat"}); err != nil || !r.Texts[0].Cut {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Named("wordpiece", -1, nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a file that is not there: %v", err)
	}
}
