package guard_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/fault"
	"tandem/core/results/web/guard"
)

const token = "abcdefghijklmnop"

// ask sends a request with headers, given as name, value, ….
func ask(g guard.Guard, method, address string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, address, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWhoIsAnswered(t *testing.T) {
	local, remote := guard.Guard{}, guard.Guard{Remote: true, Hosts: []string{"lab.example.org"}}
	for _, c := range []struct {
		name    string
		g       guard.Guard
		method  string
		address string
		headers []string
		want    int
	}{
		{"localhost", local, "GET", "http://localhost:8080/", nil, 200},
		{"127.0.0.1", local, "GET", "http://127.0.0.1:8080/", nil, 200},
		{"::1", local, "GET", "http://[::1]:8080/", nil, 200},
		{"HEAD", local, "HEAD", "http://localhost/", nil, 200},
		{"POST", local, "POST", "http://localhost/", nil, 405},
		{"a name that was bound to the address", local, "GET", "http://evil.example:8080/", nil, 421},
		{"a name that begins like one", local, "GET", "http://localhost.evil.example/", nil, 421},
		{"an address of another machine", local, "GET", "http://192.0.2.7/", nil, 421},
		{"its address, beyond loopback", remote, "GET", "http://192.0.2.7:8080/", nil, 200},
		{"its name", remote, "GET", "http://LAB.example.org:8443/", nil, 200},
		{"another name", remote, "GET", "http://evil.example/", nil, 421},
		{"the page itself", local, "GET", "http://localhost/", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, 200},
		{"an address that was typed", local, "GET", "http://localhost/", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		{"a link on another site", local, "GET", "http://localhost/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"a frame on another site", local, "GET", "http://localhost/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"a picture on another site", local, "GET", "http://localhost/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"a script of another port", local, "GET", "http://localhost/", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403},
		{"a script of another site in an old browser", local, "GET", "http://localhost/", []string{"Origin", "http://evil.example"}, 403},
		{"a sandboxed script", local, "GET", "http://localhost/", []string{"Origin", "null"}, 403},
		{"the page itself in an old browser", local, "GET", "http://localhost:80/", []string{"Origin", "http://localhost:80"}, 200},
	} {
		r := ask(c.g, c.method, c.address, c.headers...)
		if r.StatusCode != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, r.StatusCode, c.want, body(t, r))
		}
		if r.Header.Get("Content-Security-Policy") == "" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", c.name, r.Header)
		}
	}
	if text := body(t, ask(local, "GET", "http://evil.example:8080/")); !strings.Contains(text, "--host evil.example") {
		t.Errorf("no remedy: %s", text)
	}
	if text := body(t, ask(local, "GET", "http://<script>/", "Accept", "text/html")); strings.Contains(text, "<script>") {
		t.Errorf("a host is not shown as text: %s", text)
	}
}

func TestATokenIsShownOnceAndRemembered(t *testing.T) {
	g := guard.Guard{Token: token}
	r := ask(g, "GET", "http://localhost/e/a%2Fb?metric=x&token="+token)
	if to := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || to != "/e/a%2Fb?metric=x" {
		t.Fatalf("%d to %q", r.StatusCode, to)
	}
	cookies := r.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || cookies[0].Secure {
		t.Fatalf("cookies %v", cookies)
	}
	shown := cookies[0].Name + "=" + cookies[0].Value
	for _, c := range []struct {
		name    string
		address string
		headers []string
		want    int
	}{
		{"the cookie", "http://localhost/", []string{"Cookie", shown}, 200},
		{"another cookie", "http://localhost/", []string{"Cookie", shown + "x"}, 401},
		{"nothing", "http://localhost/", nil, 401},
		{"a wrong token", "http://localhost/?token=" + token + "x", []string{"Cookie", shown}, 401},
		{"two tokens", "http://localhost/?token=" + token + "&token=x", nil, 401},
		{"no token", "http://localhost/?token=", nil, 401},
		{"a header", "http://localhost/", []string{"Authorization", "Bearer " + token}, 200},
		{"a wrong header", "http://localhost/", []string{"Authorization", "Bearer x"}, 401},
		{"another kind of header", "http://localhost/", []string{"Authorization", "Basic " + token}, 401},
	} {
		r := ask(g, "GET", c.address, c.headers...)
		if r.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.name, r.StatusCode, c.want)
		}
		if text := body(t, r); strings.Contains(text, token) || (r.StatusCode != 200) != (text != "page") {
			t.Errorf("%s: %s", c.name, text)
		}
	}
	if to := ask(g, "GET", "http://localhost//evil.example/?token="+token).Header.Get("Location"); to != "/evil.example/" {
		t.Errorf("the token leads to %q", to)
	}
}

func TestALinkOnAnotherSiteLeadsToThePage(t *testing.T) {
	g := guard.Guard{Token: token, Secure: true}
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", "text/html"}
	r := ask(g, "GET", "http://localhost/run/1?token="+token, link...)
	if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, `content="0; url=/run/1"`) || strings.Contains(text, token) || len(r.Cookies()) != 1 || !r.Cookies()[0].Secure {
		t.Errorf("with the token: %d %v %s", r.StatusCode, r.Cookies(), text)
	}
	r = ask(g, "GET", `http://localhost/run/1?a="><script>`, link...) // the browser keeps the cookie back
	if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, `url=/run/1?a=`) || strings.Contains(text, "<script>") || strings.Contains(text, "<main><h1>page") {
		t.Errorf("without: %d %s", r.StatusCode, text)
	}
}

func TestTokensAreReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		path := filepath.Join(dir, "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got, err := guard.ReadToken(write(token + "\n")); err != nil || got != token {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{"short\n": "has 5 characters", "has blanks in its midst": "characters other than", "": "has 0 characters"} {
		if _, err := guard.ReadToken(write(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "midst") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := guard.ReadToken(filepath.Join(dir, "none")); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if a, b := guard.NewToken(), guard.NewToken(); a == b || len(a) < 20 {
		t.Errorf("tokens %q and %q", a, b)
	}
}
