package store

// Plugin names a plugin that a run used.
type Plugin struct {
	Role    string `json:"role"` // image, text, loss, data.train, eval.NAME
	Name    string `json:"name"` // encoders/vit
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// RunMeta holds what is known of a run when it begins. Begin finds host, process and times.
type RunMeta struct {
	Experiment  string
	Description string
	Baseline    string // the variant that others are compared with; "" keeps what is stored
	Metric      string // the metric that decides; "" keeps what is stored
	Variant     string
	Seed        int64
	Identity    string         // hash of the resolved spec and the plugins' digests
	Spec        string         // the resolved spec's text
	Params      map[string]any // the resolved spec; nested maps are flattened to dotted keys

	Plugins       []Plugin
	DatasetDigest string
	Device        string
	Devices       int // devices in use, for device-hours; 0 means 1
	Threads       map[string]int
	Libraries     map[string]string
	GitCommit     string
	GitDirty      bool
}
