package remote

import (
	"context"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"tandem/core/fault"
)

// refusing answers as a system does that lets the process make no sockets.
type refusing struct{ err error }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: r.err}
}

func TestAClosedNetworkIsNamed(t *testing.T) {
	for _, cause := range []error{syscall.EPERM, syscall.EACCES, &net.DNSError{Err: "dial udp [::1]:53: socket: permission denied", Name: "example.org"}} {
		c := New(Options{})
		c.http.Transport, c.s3.transport = refusing{cause}, refusing{cause}
		for _, name := range []string{"http://example.org/a.tar", "s3://bucket/a.tar"} {
			u, err := Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Stat(context.Background(), u)
			if err == nil || !strings.Contains(fault.Format(err), "sandbox") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
