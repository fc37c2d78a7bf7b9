package mlflow

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/sink"
)

// server answers as far as these tests ask. make test-python tries the writer with MLflow itself.
type server struct {
	status  int // of answers; 0: 200
	run     string
	auth    string
	batches []int
	metrics []string // key step value
	ends    []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.auth = r.Header.Get("Authorization")
	if s.status != 0 {
		w.WriteHeader(s.status)
		fmt.Fprint(w, `{"error_code": "X", "message": "\u001b[31m`+strings.Repeat("ü", 400)+`"}`)
		return
	}
	var in struct {
		Metrics []struct {
			Key   string
			Value any
			Step  int
		}
		Status string
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	switch strings.TrimPrefix(r.URL.Path, "/prefix/api/2.0/mlflow/") {
	case "experiments/get-by-name":
		if s.run == "" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}`)
			return
		}
		fmt.Fprint(w, `{"experiment": {"experiment_id": "7", "lifecycle_stage": "active"}}`)
	case "experiments/create":
		fmt.Fprint(w, `{"experiment_id": "7"}`)
	case "runs/search":
		if s.run == "" {
			fmt.Fprint(w, `{}`)
			return
		}
		fmt.Fprint(w, `{"runs": [{"info": {"run_id": "r"}, "data": {"metrics": [{"key": "a", "step": 3}, {"key": "b_at_", "step": "1"}]}}]}`)
	case "runs/create":
		s.run = "r"
		fmt.Fprint(w, `{"run": {"info": {"run_id": "r"}}}`)
	case "runs/log-batch":
		if len(in.Metrics) > 0 {
			s.batches = append(s.batches, len(in.Metrics))
		}
		for _, m := range in.Metrics {
			s.metrics = append(s.metrics, fmt.Sprint(m.Key, " ", m.Step, " ", m.Value))
		}
		fmt.Fprint(w, `{}`)
	case "runs/update":
		s.ends = append(s.ends, in.Status)
		fmt.Fprint(w, `{}`)
	}
}

func started(t *testing.T) (*server, string) {
	t.Setenv(envToken, "")
	t.Setenv(envUser, "")
	s := &server{}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL + "/prefix/"
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

func at(step int, values ...clip.Metric) sink.Points {
	return sink.Points{At: time.UnixMilli(1), Step: step, Values: values}
}

func TestARunThatGoesOnIsTheSameRun(t *testing.T) {
	s, uri := started(t)
	w := New(Settings{URI: uri})
	_, err := w.Open(t.Context(), sink.Run{ID: "id", Experiment: "x"})
	check(t, err)
	many := at(1)
	for i := range 2500 {
		many.Values = append(many.Values, clip.Metric{Name: fmt.Sprint("m", i), Value: 1})
	}
	check(t, w.Write(t.Context(), []sink.Points{many}))
	if !slices.Equal(s.batches, []int{1000, 1000, 500}) {
		t.Errorf("the batches have %v metrics", s.batches)
	}
	check(t, w.End(t.Context(), sink.End{Status: clip.StatusInterrupted}))
	check(t, w.Close())

	s.metrics = nil
	w = New(Settings{URI: uri})
	newest, err := w.Open(t.Context(), sink.Run{ID: "id", Experiment: "x", From: 1})
	check(t, err)
	if a, b, c := newest("a"), newest("b@"), newest("c"); a != 3 || b != 1 || c != -1 {
		t.Errorf("the newest steps are %d, %d and %d", a, b, c)
	}
	a, b := clip.Metric{Name: "a", Value: math.NaN()}, clip.Metric{Name: "b@", Value: 0.1}
	check(t, w.Write(t.Context(), []sink.Points{at(4, a, b)}))
	check(t, w.End(t.Context(), sink.End{Status: clip.StatusDone}))
	if want := []string{"a 4 NaN", "b_at_ 4 0.1"}; !slices.Equal(s.metrics, want) {
		t.Errorf("sent %q, want %q", s.metrics, want)
	}
	if want := []string{"KILLED", "RUNNING", "FINISHED"}; !slices.Equal(s.ends, want) {
		t.Errorf("states %q, want %q", s.ends, want)
	}
}

func TestAnswersTellWhatIsTriedAgain(t *testing.T) {
	s, uri := started(t)
	for status, want := range map[int]fault.Kind{400: fault.Invalid, 404: fault.Invalid, 401: fault.Unavailable, 403: fault.Unavailable, 429: fault.Unavailable, 503: fault.Unavailable} {
		s.status = status
		_, err := New(Settings{URI: uri}).Open(t.Context(), sink.Run{})
		if fault.KindOf(err) != want || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 500 {
			t.Errorf("%d is %s: %v", status, fault.KindOf(err), err)
		}
	}
	gone := httptest.NewServer(s)
	gone.Close()
	if _, err := New(Settings{URI: gone.URL}).Open(t.Context(), sink.Run{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestSecretsComeFromTheEnvironmentAndAreNotShown(t *testing.T) {
	s, uri := started(t)
	s.status = 401
	for want, set := range map[string]map[string]string{
		"Bearer secret":            {envToken: "secret", envUser: "me"},
		"Basic bWU6c2VjcmV0":       {envUser: "me", envPassword: "secret"},
		"Basic eW91OnNlY3JldA==":   {envURI: strings.Replace(uri, "://", "://you:secret@", 1)},
		"Basic eW91OnNlY3JldA== ?": {envURI: "http://you:secret@127.0.0.1:1"},
	} {
		for _, name := range []string{envToken, envUser, envPassword, envURI} {
			t.Setenv(name, set[name])
		}
		to := Settings{URI: uri}
		if set[envURI] != "" {
			to.URI = ""
		}
		s.auth = want[:len(strings.TrimSuffix(want, " ?"))]
		_, err := New(to).Open(t.Context(), sink.Run{})
		if s.auth != strings.TrimSuffix(want, " ?") || err == nil || strings.Contains(fault.Format(err), "secret") {
			t.Errorf("%v: Authorization %q, error %v", set, s.auth, err)
		}
	}
	t.Setenv(envURI, "")
	if _, err := Server(""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no server: %v", err)
	}
	t.Setenv(envURI, "databricks://secret")
	if _, err := Server(""); fault.KindOf(err) != fault.Invalid || strings.Contains(fault.Format(err), "secret") {
		t.Errorf("no address: %v", err)
	}
}

func TestNamesBecomeKeysOfTheirOwn(t *testing.T) {
	for name, want := range map[string]string{"train/loss": "train/loss", "eval/x/R@1": "eval/x/R_at_1", "a b-c_d.e:f": "a b-c_d.e:f"} {
		if got := keyOf(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	seen := map[string]string{}
	for _, name := range []string{"", "/", "..", "../x", "x", "/x", "x/", "a//b", "a/b", "a/./b", "ü", "ä", "\xff", "<script>", "\x1b[31m", "R@1", "R_at_1", strings.Repeat("n", 300), strings.Repeat("n", 301)} {
		key := keyOf(name)
		if before, twice := seen[key]; twice || len(key) == 0 || len(key) > maxKey || strings.HasPrefix(key, "/") || strings.HasPrefix(key, ".") {
			t.Errorf("%q is %q, as %q", name, key, before)
		}
		seen[key] = name
	}
}
