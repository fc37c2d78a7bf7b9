package spec

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
)

// Report names a tracker that gets a run's metrics too, and its settings.
type Report struct {
	Tracker string `json:"tracker"` // one of Trackers
	Dir     string `json:"dir"`     // an absolute path; "": the tracker's own
	Project string `json:"project"` // "": the experiment
	// URI and Experiment are MLflow's; "": $MLFLOW_TRACKING_URI, and the experiment.
	URI        string `json:"uri"`
	Experiment string `json:"experiment"`
}

// trackerKeys lists the trackers and their settings.
var trackerKeys = []Key{
	section("tensorboard", "event files for TensorBoard",
		key("dir", clip.TypeSource, nil, "the folder for `tensorboard --logdir`; left out: `tensorboard` beside the folder of runs")),
	section("trackio", "trackio's databases",
		key("dir", clip.TypeSource, nil, "the folder of trackio's databases, on a local disk; left out: `$TRACKIO_DIR`, else trackio's own"),
		key("project", clip.TypeString, nil, "left out: the experiment's name")),
	section("mlflow", "an MLflow server",
		key("uri", clip.TypeString, nil, "the server: `http://127.0.0.1:5000`; left out: `$MLFLOW_TRACKING_URI`. Passwords and tokens go into variables of the environment"),
		key("experiment", clip.TypeString, nil, "left out: the experiment's name")),
}

// Trackers returns the names that report accepts.
func Trackers() []string {
	names := make([]string, len(trackerKeys))
	for i, k := range trackerKeys {
		names[i] = k.Name
	}
	return names
}

var reportKey = Key{Field: clip.Field{Name: "report", Type: typeReport, Help: "trackers that get the metrics beside the database ([trackers](trackers.md)): names, or maps of a name to its settings, such as `[{tensorboard: {dir: tb}}]`; no part of the run's identity"}}.optional()

// report checks the trackers. An entry's canonical form is a map of its name to its settings.
func (c *checker) report(value any, p path) any {
	list, ok := value.([]any)
	if !ok {
		c.wrongType(p, "a list", value)
		c.faults[len(c.faults)-1].WithHint("write report: [%s]", Trackers()[0])
		return bad{}
	}
	first := map[string]path{}
	out := make([]any, len(list))
	for i, entry := range list {
		here := p.with(strconv.Itoa(i))
		name, settings := "", any(map[string]any{})
		switch e := entry.(type) {
		case string:
			name = e
		case map[string]any:
			if len(e) == 1 {
				for name, settings = range e {
				}
			}
		}
		if name == "" {
			c.fault(here, "want the name of a tracker, or a map of it to its settings, not %s", show(entry)).
				WithHint("write %s, or {%[1]s: {dir: PATH}}", Trackers()[0])
			continue
		}
		at := slices.IndexFunc(trackerKeys, func(k Key) bool { return k.Name == name })
		if at < 0 {
			e := c.fault(here, "unknown tracker %q", name).WithHint("%s", acceptsHint("report", name, Trackers()))
			if strings.HasPrefix(name, "wandb") {
				e.WithHint("W&B's offline files are a format of its own, which tandem does not write; %s", acceptsHint("report", "", Trackers()))
			}
			continue
		}
		if before, twice := first[name]; twice {
			c.fault(here, "%s is named already at %s", name, before).WithHint("a run goes to one place of each tracker")
		}
		first[name] = here
		out[i] = map[string]any{name: c.value(trackerKeys[at], settings, here.with(name))}
		c.uri(out[i], here.with(name).with("uri"))
	}
	return out
}

// uri checks the address of a server in the settings of an entry, if there is one.
func (c *checker) uri(entry any, p path) {
	text, given := lookup(entry, p[2:]).(string)
	if !given {
		return
	}
	uri, err := url.Parse(text)
	switch {
	case err != nil || uri.Scheme != "http" && uri.Scheme != "https" || uri.Host == "":
		c.fault(p, "%q is no http or https address", text).WithHint("write http://127.0.0.1:5000, or the address of another `mlflow server`")
	case uri.User != nil:
		c.fault(p, "has a user or a password in it, which would be recorded").
			WithHint("set $MLFLOW_TRACKING_USERNAME and $MLFLOW_TRACKING_PASSWORD, or $MLFLOW_TRACKING_TOKEN, where the run is started")
	}
}

// decodableReport returns report in the form of Spec.Report's JSON.
func decodableReport(value any) any {
	list, _ := value.([]any)
	for i, entry := range list {
		for name, settings := range entry.(map[string]any) {
			m := settings.(map[string]any)
			m["tracker"] = name
			list[i] = m
		}
	}
	return list
}
