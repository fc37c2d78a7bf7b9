package kubernetes

import "slices"

// What a manifest holds of the API batch/v1, in the API's words.
type (
	job struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
		Spec       jobSpec  `yaml:"spec"`
	}
	metadata struct {
		Name        string            `yaml:"name,omitempty"`
		Namespace   string            `yaml:"namespace,omitempty"`
		Labels      map[string]string `yaml:"labels,omitempty"`
		Annotations map[string]string `yaml:"annotations,omitempty"`
	}
	jobSpec struct {
		Suspend              bool           `yaml:"suspend,omitempty"`
		CompletionMode       string         `yaml:"completionMode,omitempty"`
		Completions          int            `yaml:"completions"`
		Parallelism          int            `yaml:"parallelism"`
		BackoffLimit         *int           `yaml:"backoffLimit,omitempty"`
		BackoffLimitPerIndex *int           `yaml:"backoffLimitPerIndex,omitempty"`
		PodReplacementPolicy string         `yaml:"podReplacementPolicy,omitempty"`
		PodFailurePolicy     *failurePolicy `yaml:"podFailurePolicy,omitempty"`
		Template             template       `yaml:"template"`
	}
	failurePolicy struct {
		Rules []rule `yaml:"rules"`
	}
	rule struct {
		Action          string      `yaml:"action"`
		OnExitCodes     *exits      `yaml:"onExitCodes,omitempty"`
		OnPodConditions []condition `yaml:"onPodConditions,omitempty"`
	}
	exits struct {
		ContainerName string `yaml:"containerName"`
		Operator      string `yaml:"operator"`
		Values        []int  `yaml:"values,flow"`
	}
	condition struct {
		Type   string `yaml:"type"`
		Status string `yaml:"status"`
	}
	template struct {
		Metadata metadata `yaml:"metadata"`
		Spec     podSpec  `yaml:"spec"`
	}
	podSpec struct {
		RestartPolicy                 string           `yaml:"restartPolicy"`
		TerminationGracePeriodSeconds int              `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               *securityContext `yaml:"securityContext,omitempty"`
		Containers                    []container      `yaml:"containers"`
		Volumes                       []volume         `yaml:"volumes"`
	}
	securityContext struct {
		RunAsUser  int `yaml:"runAsUser"`
		RunAsGroup int `yaml:"runAsGroup"`
	}
	container struct {
		Name         string        `yaml:"name"`
		Image        string        `yaml:"image"`
		Command      []string      `yaml:"command"`
		WorkingDir   string        `yaml:"workingDir"`
		Resources    *resources    `yaml:"resources,omitempty"`
		VolumeMounts []volumeMount `yaml:"volumeMounts"`
	}
	resources struct {
		Requests map[string]string `yaml:"requests"`
		Limits   map[string]string `yaml:"limits"`
	}
	volumeMount struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
	}
	volume struct {
		Name  string `yaml:"name"`
		Claim *claim `yaml:"persistentVolumeClaim"`
	}
	claim struct {
		Name string `yaml:"claimName"`
	}
)

const containerName = "runner"

// exitCodes names exit codes of the container, in ascending order without repeats, as the API wants them.
func exitCodes(codes []int) *exits {
	codes = slices.Clone(codes)
	slices.Sort(codes)
	return &exits{ContainerName: containerName, Operator: "In", Values: slices.Compact(codes)}
}
