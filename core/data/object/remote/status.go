package remote

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"tandem/core/fault"
)

// status is the answer of a server that does not give what was asked for.
type status struct {
	code     int
	s3       string // the code of S3's errors: NoSuchKey
	message  string // of the server, for people
	endpoint string // of S3
	keys     string // the access key that was used, "" for none
}

func (s *status) Error() string {
	text := fmt.Sprintf("the server says %d", s.code)
	if name := http.StatusText(s.code); name != "" {
		text += " " + name
	}
	if s.s3 != "" {
		text += " (" + fault.PrintableLine(s.s3) + ")"
	}
	if s.message != "" {
		text += ": " + fault.PrintableLine(strings.TrimRight(s.message, "."))
	}
	return text
}

// explain says what to do about it.
func (s *status) explain(u *url.URL) (mayPass bool, err *fault.Error) {
	fail := func(kind fault.Kind, hint string) (bool, *fault.Error) {
		f := fault.New(kind, "%w", error(s)).WithFile(Display(u), 0, 0)
		f.Hint = hint
		return false, f
	}
	where := "at " + s.endpoint
	switch s.s3 {
	case "NoSuchBucket":
		return fail(fault.NotFound, fmt.Sprintf("there is no bucket %s %s; AWS_ENDPOINT_URL names another server", u.Host, where))
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "XAmzContentSHA256Mismatch":
		return fail(fault.Unavailable, fmt.Sprintf("%s does not accept the key %s: look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or ~/.aws/credentials", s.endpoint, shorten(s.keys)))
	case "RequestTimeTooSkewed":
		return fail(fault.Unavailable, "set this machine's clock")
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return fail(fault.Unavailable, "the bucket lies in another region: set AWS_REGION")
	case "InvalidObjectState":
		return fail(fault.Unavailable, "the object is archived: restore it first")
	}
	switch {
	case s.code == http.StatusNotFound || s.code == http.StatusGone:
		return fail(fault.NotFound, "look whether the address is right: there is nothing there")
	case s.code == http.StatusPreconditionFailed:
		return false, changed(u)
	case s.code == http.StatusUnauthorized || s.code == http.StatusForbidden:
		switch {
		case u.Scheme != "s3":
			return fail(fault.Unavailable, "the server lets nobody read it who does not sign in")
		case s.keys == "":
			return fail(fault.Unavailable, fmt.Sprintf("it was asked for without a key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE of ~/.aws/credentials, for %s", s.endpoint))
		}
		return fail(fault.Unavailable, fmt.Sprintf("the key %s may not read it, or it is not there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) of one that may", shorten(s.keys)))
	case s.code == 408, s.code == 425, s.code == 429, s.code >= 500 && s.code != 501 && s.code != 505:
		return true, fault.New(fault.Unavailable, "%w", error(s)).WithFile(Display(u), 0, 0)
	}
	return fail(fault.Unavailable, "")
}

// shorten returns the beginning of a key's name, which is no secret, for people.
func shorten(key string) string {
	if key == "" {
		return "(none)"
	}
	return key[:min(4, len(key))] + "…"
}

// changed reports an object that is no longer the one that was opened.
func changed(u *url.URL) *fault.Error {
	return fault.New(fault.Conflict, "the object has changed since it was opened").WithFile(Display(u), 0, 0).
		WithHint("leave the data alone while a run reads it, and start again")
}

// firstEnv returns the first variable of the environment that is set.
func firstEnv(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}
