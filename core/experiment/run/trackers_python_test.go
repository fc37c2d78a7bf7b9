package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/results/sink"
	"tandem/core/results/sink/mlflow"
	"tandem/core/results/sink/tensorboard"
	"tandem/core/results/sink/trackio"
	"tandem/core/results/store"
)

// trackersPython returns a Python that has the trackers' own packages; make test-python names it.
func trackersPython(t *testing.T) string {
	t.Helper()
	python := os.Getenv("TANDEM_TRACKERS")
	if python == "" {
		t.Skip("make test-python runs the tests with the trackers' own packages")
	}
	return python
}

// readBack returns what a tracker's own package reads: the curves of each run by name, as "step value".
func readBack(t *testing.T, python string, args ...string) map[string]map[string][]string {
	t.Helper()
	cmd := exec.Command(python, append([]string{"../../../tools/trackers/check.py"}, args...)...)
	cmd.Stderr = t.Output()
	text, err := cmd.Output()
	labtest.Must(t, err)
	var runs map[string]map[string][][2]any
	labtest.Must(t, json.Unmarshal(text, &runs))
	out := map[string]map[string][]string{}
	for run, curves := range runs {
		out[run] = map[string][]string{}
		for name, points := range curves {
			slices.SortStableFunc(points, func(a, b [2]any) int { return int(a[0].(float64) - b[0].(float64)) })
			for _, p := range points {
				v, err := strconv.ParseFloat(p[1].(string), 64)
				labtest.Must(t, err)
				out[run][name] = append(out[run][name], fmt.Sprint(p[0], " ", v))
			}
		}
	}
	return out
}

// curvesOf returns what the database has of a run, as readBack does. round is what the tracker does to numbers.
func curvesOf(t *testing.T, l lab.Lab, id string, name func(string) string, round func(float64) float64) map[string][]string {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	last, err := r.LastSteps(t.Context(), id)
	labtest.Must(t, err)
	out := map[string][]string{}
	for metric := range last {
		curve, err := r.Curve(t.Context(), id, metric)
		labtest.Must(t, err)
		for _, p := range curve {
			out[name(metric)] = append(out[name(metric)], fmt.Sprint(p.Step, " ", round(float64(p.Value))))
		}
	}
	return out
}

func same(name string) string      { return name }
func exact(v float64) float64      { return v }
func single(v float64) float64     { return float64(float32(v)) }
func mlflowKey(name string) string { return strings.ReplaceAll(name, "@", "_at_") }

// sameCurves compares what a tracker has of a run with what the database has.
func sameCurves(t *testing.T, run string, got map[string]map[string][]string, want map[string][]string) {
	t.Helper()
	if len(got) != 1 || got[run] == nil {
		t.Errorf("the runs are %q, want %q", slices.Sorted(maps.Keys(got)), run)
		return
	}
	if len(got[run]) != len(want) {
		t.Errorf("%d metrics, want %d", len(got[run]), len(want))
	}
	for name, points := range want {
		if !slices.Equal(got[run][name], points) {
			t.Errorf("%s is %v, want %v", name, got[run][name], points)
		}
	}
}

// What TensorBoard and trackio read is what the database has, also of a run that was stopped and whose beginning one of them missed.
func TestPythonTrackersHaveWhatTheDatabaseHas(t *testing.T) {
	python := trackersPython(t)
	l, dir := labtest.New(t), t.TempDir()
	tb, tk := filepath.Join(dir, "tb"), filepath.Join(dir, "tk")
	id := interrupted(t, l, []string{tb}, "name=x", "variant=v", "report=[{tensorboard: {dir: "+tb+"}}, {trackio: {dir: "+tk+"}}]")
	sameCurves(t, "x/v-seed0-"+id, readBack(t, python, "tensorboard", tb), curvesOf(t, l, id, same, single))
	sameCurves(t, "v, seed 0 "+id+" done", readBack(t, python, "trackio", tk, "x"), curvesOf(t, l, id, same, exact))
}

// mlflowServer prepares an MLflow server on loopback; start waits until it answers.
func mlflowServer(t *testing.T, python string) (uri string, start func()) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	labtest.Must(t, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	labtest.Must(t, err)
	labtest.Must(t, free.Close())
	uri = "http://127.0.0.1:" + port
	return uri, func() {
		dir := t.TempDir()
		cmd := exec.Command(python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1",
			"--backend-store-uri", "sqlite:///"+filepath.Join(dir, "ml.db"), "--default-artifact-root", filepath.Join(dir, "artifacts"))
		cmd.Env = append(os.Environ(), "MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false")
		log, err := os.Create(filepath.Join(dir, "log"))
		labtest.Must(t, err)
		cmd.Stdout, cmd.Stderr = log, log
		labtest.Must(t, cmd.Start())
		t.Cleanup(func() {
			// It starts another process. A group of their own would be taken for what a plugin left.
			children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid))
			for _, child := range strings.Fields(string(children)) {
				if pid, err := strconv.Atoi(child); err == nil {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			_, _ = cmd.Process.Kill(), cmd.Wait()
			log.Close()
			if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
				t.Logf("the server says\n%.4000s", text[max(0, len(text)-4000):])
			}
		})
		for {
			answer, err := http.Get(uri + "/health")
			if err == nil {
				answer.Body.Close()
				return
			}
			if end, limited := t.Deadline(); limited && time.Until(end) < 20*time.Second {
				t.Fatal("the MLflow server does not answer")
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// A server that was down while a run began has the whole run in the end, as one run.
func TestPythonMLflowHasWhatTheDatabaseHas(t *testing.T) {
	python := trackersPython(t)
	l := labtest.New(t)
	uri, start := mlflowServer(t, python)
	w := newWitness(3)
	out, err := Start(t.Context(), l, labtest.Spec(t, l, "name=x", "variant=v", "report=[{mlflow: {uri: '"+uri+"'}}]"), w.stop, w)
	labtest.Must(t, err)
	if told := strings.Join(w.events, "\n"); out.Status != clip.StatusInterrupted || !strings.Contains(told, "mlflow has 0 of ") {
		t.Errorf("the run is %s, told\n%s", out.Status, told)
	}
	start()
	w = newWitness(6)
	out, err = Resume(t.Context(), l, out.ID, w.stop, w)
	labtest.Must(t, err)
	if len(readBack(t, python, "mlflow", uri, "x")["v, seed 0 "+out.ID+" KILLED"]) == 0 {
		t.Error("a run that was stopped is not KILLED")
	}
	out, err = Resume(t.Context(), l, out.ID, nil, newWitness(0))
	labtest.Must(t, err)
	sameCurves(t, "v, seed 0 "+out.ID+" FINISHED", readBack(t, python, "mlflow", uri, "x"), curvesOf(t, l, out.ID, mlflowKey, exact))
}

// Whatever metrics, variants and settings are called, trackers take the values.
func TestPythonTrackersTakeHostileNames(t *testing.T) {
	python := trackersPython(t)
	names := []string{"<script>alert(1)</script>", "a'; DROP TABLE metrics; --", "\x1b[31mred", "../../etc/passwd", "a//b/", "step", "R@1", "日本語", "\xff", `q"uo\te`,
		"{{x}}", "%s"}
	var values []clip.Metric
	for i, name := range names {
		values = append(values, clip.Metric{Name: name, Value: 1 / float64(i+3)})
	}
	uri, start := mlflowServer(t, python)
	start()
	dir := t.TempDir()
	tb, tk := filepath.Join(dir, "tb"), filepath.Join(dir, "tk")
	r := sink.Run{ID: "0abcdefgh1", Experiment: "x", Variant: "<b>v", From: -1, Begun: time.Now(), Spec: "description: <script>alert(1)</script>\n```\n",
		Params: map[string]any{"description": "<script>\x1b[31m\xff" + strings.Repeat("ü", 9000), "": "", "list": []any{int64(1)}}}
	var told []string
	feed := sink.Start(r, []sink.Named{{Name: "tb", Tracker: tensorboard.New(tb)}, {Name: "tk", Tracker: trackio.New(trackio.Settings{Dir: tk})},
		{Name: "ml", Tracker: mlflow.New(mlflow.Settings{URI: uri})}}, func(_, message string) { told = append(told, message) })
	feed.Points(sink.Points{At: time.Now(), Step: 3, Values: values})
	feed.End(t.Context(), sink.End{Status: clip.StatusFailed, Error: "\x1b[31m" + strings.Repeat("e", 10000), At: time.Now()}, 5*time.Minute)
	if len(told) > 0 {
		t.Errorf("told %q", told)
	}
	for of, runs := range map[string]map[string]map[string][]string{"tensorboard": readBack(t, python, "tensorboard", tb),
		"trackio": readBack(t, python, "trackio", tk, "x"), "mlflow": readBack(t, python, "mlflow", uri, "x")} {
		round := exact
		if of == "tensorboard" {
			round = single
		}
		var got, want []string
		for _, curves := range runs {
			for _, points := range curves {
				got = append(got, points...)
			}
		}
		for _, v := range values {
			want = append(want, fmt.Sprint(3, " ", round(v.Value)))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v: %v", of, got, want, runs)
		}
	}
}
