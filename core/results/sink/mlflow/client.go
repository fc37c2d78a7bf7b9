package mlflow

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"tandem/core/fault"
)

// requestTimeout bounds one request.
const requestTimeout = 30 * time.Second

// The variables that MLflow's own clients read.
const (
	envURI      = "MLFLOW_TRACKING_URI"
	envToken    = "MLFLOW_TRACKING_TOKEN"
	envUser     = "MLFLOW_TRACKING_USERNAME"
	envPassword = "MLFLOW_TRACKING_PASSWORD"
)

// client speaks MLflow's REST API.
type client struct {
	base                  *url.URL
	token, user, password string
	http                  http.Client
}

// Server returns the address of the server that a run is to go to: that of a spec, else that of the environment.
func Server(uri string) (*url.URL, error) {
	from := "uri"
	if uri == "" {
		uri, from = os.Getenv(envURI), "$"+envURI
	}
	if uri == "" {
		return nil, fault.New(fault.Invalid, "mlflow: no server is named").WithHint("set report: [{mlflow: {uri: http://127.0.0.1:5000}}], or $%s", envURI)
	}
	base, err := url.Parse(uri)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fault.New(fault.Invalid, "mlflow: %s is no http or https address", from).
			WithHint("start a server, `mlflow server --port 5000`, and name it: http://127.0.0.1:5000")
	}
	return base, nil
}

func newClient(uri string) (*client, error) {
	base, err := Server(uri)
	if err != nil {
		return nil, err
	}
	c := &client{base: base, token: os.Getenv(envToken), user: os.Getenv(envUser), password: os.Getenv(envPassword)}
	if base.User != nil {
		c.user = base.User.Username()
		c.password, _ = base.User.Password()
		bare := *base
		bare.User = nil // so that no message shows it
		c.base = &bare
	}
	c.http.Timeout = requestTimeout
	return c, nil
}

// refusal is what the server answers instead.
type refusal struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// call sends a request and decodes the answer into out, if it is not nil. What the server will never take is fault.Invalid, what may
// succeed later fault.Unavailable. Code is the server's name of an error.
func (c *client) call(ctx context.Context, method, path string, in, out any) (code string, err error) {
	at := c.base.JoinPath("api/2.0/mlflow", path)
	var body io.Reader
	if method == http.MethodGet {
		at.RawQuery = in.(url.Values).Encode()
	} else {
		text, err := json.Marshal(in)
		if err != nil {
			return "", err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return "", fault.New(fault.Invalid, "%w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	switch {
	case c.token != "":
		request.Header.Set("Authorization", "Bearer "+c.token)
	case c.user != "":
		request.SetBasicAuth(c.user, c.password)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return "", fault.New(fault.Unavailable, "%w", err).WithHint("is the server up, and can it be reached from here?")
	}
	defer answer.Body.Close()
	const most = 16 << 20
	text, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return "", fault.New(fault.Unavailable, "%s: %w", at.Path, err)
	}
	if answer.StatusCode/100 == 2 {
		if out == nil {
			return "", nil
		}
		if err := json.Unmarshal(text, out); err != nil {
			return "", fault.New(fault.Unavailable, "%s does not answer as MLflow does: %w", c.base, err)
		}
		return "", nil
	}
	var r refusal
	if json.Unmarshal(text, &r) != nil || r.Message == "" {
		r.Message = string(text)
	}
	kind, hint := fault.Invalid, ""
	switch s := answer.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		kind, hint = fault.Unavailable, "set $"+envToken+", or $"+envUser+" and $"+envPassword
	case s == http.StatusRequestTimeout || s == http.StatusTooManyRequests || s >= 500:
		kind = fault.Unavailable
	}
	return r.Code, fault.New(kind, "%s answers %s: %q", at.Path, answer.Status, short(r.Message)).WithHint("%s", hint)
}

// short cuts a text to what a line of a log may have.
func short(text string) string {
	const most = 300
	text = strings.ToValidUTF8(strings.TrimSpace(text), "�")
	if len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
