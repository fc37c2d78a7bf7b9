package fetch

import (
	"context"
	"net/url"

	"tandem/core/fault"
)

// The reasons of errors (fault.Error.Reason).
const (
	BadAddress        = "bad address"            // no http or https
	PrivateAddress    = "private address"        // of this machine or of a private network
	RefusedByRobots   = "refused by robots.txt"  //
	NoRobots          = "robots.txt unavailable" // the host did not say for now what may be fetched
	NoAI              = "noai"                   // reserved by noai, noimageai or tdm-reservation
	TooLarge          = "too large"
	TooManyRedirects  = "too many redirects"
	WrongType         = "wrong type"
	NotFound          = "not found"          // 404, 410
	Forbidden         = "forbidden"          // 401, 403, 451
	BadReply          = "bad reply"          // another status of no use, or an answer that is no HTTP
	NoHost            = "no such host"       //
	BadCertificate    = "bad certificate"    //
	TooManyRequests   = "too many requests"  // 429
	ServerError       = "server error"       // 5xx, 408, 425
	Timeout           = "timeout"            //
	BrokenConnection  = "broken connection"  // in the middle of an answer, too
	NoNetwork         = "no network"         // closed to this process
	ServerUnreachable = "server unreachable" // no connection comes about
)

// Temporary reports whether an error may be gone when the address is fetched later.
func Temporary(err error) bool {
	switch fault.ReasonOf(err) {
	case NoRobots, TooManyRequests, ServerError, Timeout, BrokenConnection, ServerUnreachable, string(fault.Canceled):
		return true
	}
	return false
}

func failure(kind fault.Kind, reason string, u *url.URL, format string, args ...any) *fault.Error {
	return fault.New(kind, format, args...).WithFile(u.String(), 0, 0).WithReason(reason)
}

func canceled(ctx context.Context, u *url.URL) error {
	return fault.New(fault.Canceled, "%w", context.Cause(ctx)).WithFile(u.String(), 0, 0).WithReason(string(fault.Canceled))
}
