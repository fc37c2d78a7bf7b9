package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/fault"
)

func TestFaultsSurviveTheTrip(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict, fault.Unavailable, fault.Exhausted,
		fault.Corrupt, fault.Numeric, fault.PluginDied, fault.Canceled, fault.Internal} {
		want := fault.Error{Kind: kind, Op: "op", Plugin: "p", File: "f", Line: 1, Column: 2, Path: "a.b", Msg: "m", Hint: "h", Detail: "d"}
		in := want
		got, ok := FromStatus(ToStatus(&in)).(*fault.Error)
		if !ok || *got != want {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

func TestOtherErrorsBecomeFaults(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind fault.Kind
		text string
	}{
		{errors.New("plain"), fault.Internal, "plain"},
		{context.Canceled, fault.Canceled, "context canceled"},
		{fmt.Errorf("outer: %w", context.DeadlineExceeded), fault.Canceled, "outer: context deadline exceeded"},
		{fmt.Errorf("outer: %w", fault.New(fault.Numeric, "inner")), fault.Numeric, "outer: inner"},
		{&fault.Error{Kind: fault.Corrupt, Err: errors.New("cause")}, fault.Corrupt, "cause"},
		{fault.New(fault.Invalid, "bytes \xff"), fault.Invalid, "bytes \ufffd"},
		{fault.List{fault.New(fault.Invalid, "a"), fault.New(fault.Invalid, "b")}, fault.Invalid, "a\nb"},
	} {
		got := FromStatus(ToStatus(c.err))
		if fault.KindOf(got) != c.kind || got.Error() != c.text {
			t.Errorf("%v becomes %s %q", c.err, fault.KindOf(got), got)
		}
		if got, want := status.Code(ToStatus(c.err)), codeOfKind[c.kind]; got != want {
			t.Errorf("%v has gRPC's code %v, want %v", c.err, got, want)
		}
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil {
		t.Error("no error becomes one")
	}
	long := fault.New(fault.Internal, "m").WithDetail("start" + strings.Repeat("x", 1<<20) + "end")
	got := FromStatus(ToStatus(long)).(*fault.Error)
	if n := len(got.Detail); n > detailBytes+10 || !strings.HasPrefix(got.Detail, "start") || !strings.HasSuffix(got.Detail, "end") {
		t.Errorf("a detail of 1 MiB arrives with %d bytes", n)
	}
}

// A plugin in another language may give gRPC codes alone.
func TestCodesAloneMeanSomething(t *testing.T) {
	for code, kind := range map[codes.Code]fault.Kind{
		codes.InvalidArgument: fault.Invalid, codes.NotFound: fault.NotFound, codes.ResourceExhausted: fault.Exhausted,
		codes.Unknown: fault.Internal, codes.DataLoss: fault.Corrupt, codes.Unimplemented: fault.Internal,
	} {
		if got := FromStatus(status.Error(code, "said")); fault.KindOf(got) != kind || got.Error() != "said" {
			t.Errorf("%v becomes %v %q", code, fault.KindOf(got), got)
		}
	}
}
