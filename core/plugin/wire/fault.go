package wire

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
)

// detailBytes limits Fault.detail, which travels in an HTTP/2 header.
const detailBytes = 64 << 10

// codeOfKind gives the gRPC code of a kind, for readers of gRPC logs and plugins without fault details.
// codes.Unavailable is left to the transport.
var codeOfKind = map[fault.Kind]codes.Code{
	fault.Invalid:     codes.InvalidArgument,
	fault.NotFound:    codes.NotFound,
	fault.Conflict:    codes.FailedPrecondition,
	fault.Unavailable: codes.FailedPrecondition,
	fault.Exhausted:   codes.ResourceExhausted,
	fault.Corrupt:     codes.DataLoss,
	fault.Numeric:     codes.OutOfRange,
	fault.PluginDied:  codes.Aborted,
	fault.Canceled:    codes.Canceled,
	fault.Internal:    codes.Internal,
}

// kindOfCode gives the kind of an error that came without details, as from a plugin in another language.
var kindOfCode = map[codes.Code]fault.Kind{
	codes.InvalidArgument:    fault.Invalid,
	codes.NotFound:           fault.NotFound,
	codes.FailedPrecondition: fault.Conflict,
	codes.ResourceExhausted:  fault.Exhausted,
	codes.DataLoss:           fault.Corrupt,
	codes.OutOfRange:         fault.Numeric,
	codes.Canceled:           fault.Canceled,
	codes.DeadlineExceeded:   fault.Canceled,
	codes.Unavailable:        fault.PluginDied,
}

// ToStatus returns err as a gRPC status error that has all of its faults in the details; nil for nil.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	faults := &pb.Faults{}
	var list fault.List
	if faults.List = errors.As(err, &list); !faults.List {
		list = fault.List{toFault(err)}
	}
	for _, e := range list {
		faults.Faults = append(faults.Faults, &pb.Fault{
			Kind: string(e.Kind), Op: valid(e.Op), Plugin: valid(e.Plugin), File: valid(e.File),
			Line: int64(e.Line), Column: int64(e.Column), Path: valid(e.Path), Msg: valid(message(e)),
			Hint: valid(e.Hint), Detail: valid(shorten(e.Detail)), Reason: valid(e.Reason),
		})
	}
	kind := fault.KindOf(err)
	if !faults.List {
		kind = list[0].Kind // of a context's error too, which is no fault
	}
	c, ok := codeOfKind[kind]
	if !ok {
		c = codes.Internal
	}
	s, detailErr := status.New(c, valid(shorten(err.Error()))).WithDetails(faults)
	if detailErr != nil { // only a bug in pb can make this happen
		return status.Error(codes.Internal, err.Error())
	}
	return s.Err()
}

// FromStatus returns the error that ToStatus was given. For any other gRPC error it returns the most likely
// fault.
func FromStatus(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range s.Details() {
		faults, ok := d.(*pb.Faults)
		if !ok || len(faults.Faults) == 0 {
			continue
		}
		list := make(fault.List, len(faults.Faults))
		for i, f := range faults.Faults {
			list[i] = &fault.Error{
				Kind: fault.Kind(f.Kind), Op: f.Op, Plugin: f.Plugin, File: f.File, Line: int(f.Line),
				Column: int(f.Column), Path: f.Path, Msg: f.Msg, Hint: f.Hint, Detail: f.Detail, Reason: f.Reason,
			}
		}
		if faults.List {
			return list
		}
		return list[0]
	}
	kind, ok := kindOfCode[s.Code()]
	if !ok {
		kind = fault.Internal
	}
	e := fault.New(kind, "%s", s.Message())
	if s.Code() == codes.Unimplemented {
		return e.WithHint("the plugin does not offer all of the protocol that it speaks")
	}
	return e
}

// hasDetails reports whether a gRPC error came from a method and not from the transport.
func hasDetails(err error) bool {
	s, ok := status.FromError(err)
	return ok && len(s.Details()) > 0
}

// toFault returns err as one fault. Text that is wrapped around a fault becomes part of its operation.
func toFault(err error) *fault.Error {
	var e *fault.Error
	if errors.As(err, &e) {
		if outer, ok := strings.CutSuffix(err.Error(), e.Error()); ok && outer != "" {
			c := *e
			c.Op = strings.TrimSuffix(outer, ": ")
			if e.Op != "" {
				c.Op += ": " + e.Op
			}
			return &c
		}
		return e
	}
	kind := fault.Internal
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = fault.Canceled
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.ENOMEM):
		kind = fault.Exhausted // the number does not cross, what it means does
	case errors.Is(err, fs.ErrNotExist):
		kind = fault.NotFound
	}
	return &fault.Error{Kind: kind, Msg: err.Error()}
}

func message(e *fault.Error) string {
	if e.Msg == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Msg
}

// shorten keeps the two ends of a long text.
func shorten(s string) string {
	if len(s) <= detailBytes {
		return s
	}
	return s[:detailBytes/2] + "\n…\n" + s[len(s)-detailBytes/2:]
}

// valid replaces what protobuf strings cannot hold: bytes that are not UTF-8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

func validAll(list []string) []string {
	for i, s := range list {
		if !utf8.ValidString(s) {
			out := append([]string(nil), list...)
			for j := i; j < len(out); j++ {
				out[j] = valid(out[j])
			}
			return out
		}
	}
	return list
}
