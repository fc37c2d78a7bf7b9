// Package trial tries plugins as the runner uses them: as processes. Run checks one with the conformance kit, whatever
// language it is written in; Bench measures what its calls cost.
package trial

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/process"
)

// Options says what to try, and how.
type Options struct {
	Catalog    *catalog.Catalog
	Descriptor clip.Descriptor // of the plugin, as Catalog described it
	Binary     catalog.Binary
	// With holds the options; nil: small values for the sizes of an encoder, where they fit, else the defaults.
	With json.RawMessage
	// Device, Threads, EmbedDim, Batch and ImageSize have defaults when they are zero: cpu, 1 and the kit's own.
	Device                     string
	Threads                    int
	EmbedDim, Batch, ImageSize int
	Modality                   clip.Modality             // of an encoder that can be either tower; "": image
	Skip                       []string                  // rules to leave out
	Only                       []string                  // rules to check, with those that they need; nil: all
	Env                        []string                  // more of the processes' environment, as KEY=value
	Observe                    func(conformance.Finding) // called after every rule, when not nil
	Limits                     process.Limits            // of calls; zero: the process package's defaults
}

// Outcome says what became of a rule.
type Outcome string

// The outcomes of rules.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result describes the outcome of one rule for people and programs.
type Result struct {
	Rule    string  `json:"rule"`
	Outcome Outcome `json:"outcome"`
	Promise string  `json:"promise"`
	Why     string  `json:"why,omitempty"`    // it failed, or was skipped
	Remedy  string  `json:"remedy,omitempty"` // when it failed
	Seconds float64 `json:"seconds"`
}

// Report describes a plugin and the outcome of every rule.
type Report struct {
	Plugin   string          `json:"plugin"` // encoders/vit
	Version  string          `json:"version"`
	Protocol int             `json:"protocol"`
	Path     string          `json:"path"`
	SHA256   string          `json:"sha256"`
	With     json.RawMessage `json:"with"` // the options that were used
	Passed   int             `json:"passed"`
	Failed   int             `json:"failed"`
	Skipped  int             `json:"skipped"`
	Seconds  float64         `json:"seconds"`
	Rules    []Result        `json:"rules"`
}

// ResultOf returns a finding for people and programs.
func ResultOf(f conformance.Finding) Result {
	r := Result{Rule: f.Rule, Outcome: Passed, Promise: f.Promise, Seconds: f.Took.Seconds()}
	switch {
	case f.Err != nil:
		r.Outcome, r.Why, r.Remedy = Failed, fault.Format(f.Err), f.Remedy
	case f.Skipped != "":
		r.Outcome, r.Why = Skipped, f.Skipped
	}
	return r
}

// Run checks a plugin and reports every rule. An error says that it could not be tried at all; rules that are broken
// are in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	start := time.Now()
	report := Report{Plugin: o.Binary.Ref(), Version: o.Descriptor.Version, Protocol: o.Descriptor.Protocol,
		Path: o.Binary.Path, SHA256: o.Binary.SHA256}
	if err := o.complete(ctx); err != nil {
		return report, err
	}
	report.With = o.With
	observe := o.Observe
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var changed error // the plugin is another one by now: what the rules say is about neither
	o.Observe = func(f conformance.Finding) {
		if changed == nil && errors.Is(f.Err, process.ErrChanged) {
			changed = f.Err
			stop()
		}
		if changed != nil {
			return
		}
		r := ResultOf(f)
		report.Rules = append(report.Rules, r)
		switch r.Outcome {
		case Passed:
			report.Passed++
		case Failed:
			report.Failed++
		case Skipped:
			report.Skipped++
		}
		if observe != nil {
			observe(f)
		}
	}
	err := o.check(ctx)
	report.Seconds = time.Since(start).Seconds()
	return report, cmp.Or(changed, err)
}

// complete fills in what the caller left out.
func (o *Options) complete(ctx context.Context) error {
	if o.Device == "" {
		o.Device = "cpu"
	}
	if o.Threads == 0 {
		o.Threads = 1
	}
	if o.Descriptor.Modality != "" || o.Modality == "" {
		o.Modality = cmp.Or(o.Descriptor.Modality, clip.Image)
	}
	if o.With != nil {
		return nil
	}
	var missing []string
	for _, f := range o.Descriptor.Schema {
		if f.Required {
			missing = append(missing, f.Name)
		}
	}
	if len(missing) > 0 {
		return fault.New(fault.Invalid, "%s needs the options %q", o.Binary.Ref(), missing).
			WithHint(`pass them: --with '{%q: …}', or --with FILE.yaml`, missing[0])
	}
	o.With = o.smallest(ctx)
	return nil
}

func (o *Options) compute() clip.Compute {
	return clip.Compute{Device: o.Device, Threads: o.Threads, Precision: "f32"}
}

// check checks the descriptor, then the plugin with the rules of its kind.
func (o *Options) check(ctx context.Context) error {
	o.checkDescriptor()
	session, err := o.session(false)
	if err != nil {
		return err
	}
	defer session.Close()
	kits := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(ownRules, name) })
	}
	skip, only := kits(o.Skip), kits(o.Only)
	if len(o.Only) > 0 && len(only) == 0 {
		return o.checkInline(ctx, session)
	}
	switch o.Descriptor.Kind {
	case clip.KindEncoder:
		instances := prestart(func() (clip.Encoder, error) { return o.encoder(ctx, session) })
		defer instances.stop()
		conformance.ExamineEncoder(instances.next, conformance.EncoderOptions{With: string(o.With), EmbedDim: o.EmbedDim, Batch: o.Batch, Modality: o.Modality, Outputs: o.Descriptor.Outputs,
			Capabilities: o.Descriptor.Capabilities,
			Compute:      o.compute(), Skip: skip, Only: only, Observe: o.Observe})
	case clip.KindLoss:
		instances := prestart(func() (clip.Loss, error) { return o.loss(ctx, session) })
		defer instances.stop()
		conformance.ExamineLoss(instances.next, conformance.LossOptions{With: string(o.With), EmbedDim: o.EmbedDim, Batch: o.Batch, Inputs: o.Descriptor.Inputs, Capabilities: o.Descriptor.Capabilities,
			Compute: o.compute(), Skip: skip, Only: only, Observe: o.Observe})
	case clip.KindDataset:
		instances := prestart(func() (clip.Dataset, error) { return o.dataset(ctx, session) })
		defer instances.stop()
		conformance.ExamineDataset(instances.next, conformance.DatasetOptions{With: string(o.With), ImageSize: o.ImageSize, Capabilities: o.Descriptor.Capabilities,
			Splits: o.splits(), Skip: skip, Only: only, Observe: o.Observe})
	default:
		return fault.New(fault.Invalid, "there is no kit for the kind %q", o.Descriptor.Kind)
	}
	return o.checkInline(ctx, session)
}

func (o *Options) session(inline bool) (*process.Session, error) {
	return process.NewSession(process.SessionOptions{Catalog: o.Catalog, NoSharedMemory: inline, Limits: o.Limits})
}

// options returns how to start a process of the plugin.
func (o *Options) options() process.StartOptions {
	return process.StartOptions{Threads: o.Threads, SHA256: o.Binary.SHA256, Env: o.Env}
}

// splits returns the options of every split, when there is an option that chooses among them.
func (o *Options) splits() []string {
	for _, f := range o.Descriptor.Schema {
		if f.Name != "split" || len(f.Enum) < 2 {
			continue
		}
		var all []string
		for _, name := range f.Enum {
			if name == "all" {
				continue // it is the others together
			}
			with := map[string]any{}
			if err := json.Unmarshal(o.With, &with); err != nil {
				return nil
			}
			with["split"] = name
			if _, given := with["test_fraction"]; !given && o.has("test_fraction") {
				with["test_fraction"] = .5
			}
			text, err := json.Marshal(with)
			if err != nil {
				return nil
			}
			all = append(all, string(text))
		}
		return all
	}
	return nil
}

// has reports whether the plugin has an option.
func (o *Options) has(name string) bool {
	return slices.ContainsFunc(o.Descriptor.Schema, func(f clip.Field) bool { return f.Name == name })
}

// finding reports a rule of this package.
func (o *Options) finding(rule, promise, remedy string, check func() error) {
	f := conformance.Finding{Rule: rule, Promise: promise, Remedy: remedy}
	if len(o.Only) > 0 && !slices.Contains(o.Only, rule) {
		return
	}
	if slices.Contains(o.Skip, rule) {
		f.Skipped = "left out as asked"
	} else {
		start := time.Now()
		f.Err = check()
		f.Took = time.Since(start)
	}
	o.Observe(f)
}

// ownRules names the rules of this package, which concern the process.
var ownRules = []string{"descriptor", "without shared memory"}

// checkDescriptor checks what a reader of the descriptor needs.
func (o *Options) checkDescriptor() {
	o.finding("descriptor", "The descriptor has a version, a summary, a help for each option, and defaults that the options' own bounds allow.",
		"complete what the plugin says of itself", func() error {
			d := o.Descriptor
			switch {
			case d.Version == "":
				return fmt.Errorf("it has no version")
			case d.Summary == "":
				return fmt.Errorf("it has no summary")
			case d.Kind == clip.KindEncoder && d.Modality != clip.Image && d.Modality != clip.Text && d.Modality != "":
				return fmt.Errorf("its modality is %q, want image, text or nothing", d.Modality)
			}
			for _, f := range d.Schema {
				if f.Help == "" {
					return fmt.Errorf("its option %s has no help", f.Name)
				}
				v, number := f.Default.(float64)
				if number && (f.Min != nil && v < *f.Min || f.Max != nil && v > *f.Max) {
					return fmt.Errorf("the default %v of its option %s is out of bounds", v, f.Name)
				}
				if s, ok := f.Default.(string); ok && len(f.Enum) > 0 && !slices.Contains(f.Enum, s) {
					return fmt.Errorf("the default %q of its option %s is none of %q", s, f.Name, f.Enum)
				}
			}
			return nil
		})
}
