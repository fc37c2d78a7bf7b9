//go:build ignore

// Command check holds the Jobs that it reads as YAML against the API server's own code: decoding that knows every field, defaults,
// and validation. check.sh builds it in a module of its own.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	"k8s.io/kubernetes/pkg/apis/batch/validation"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"sigs.k8s.io/yaml"
)

func main() {
	log.SetFlags(0)
	documents := yamlutil.NewYAMLReader(bufio.NewReader(os.Stdin))
	bad, n := 0, 0
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		errs, err := check(text)
		if err != nil {
			log.Fatal(err)
		}
		for _, e := range errs {
			log.Print(e)
		}
		n, bad = n+1, bad+len(errs)
	}
	fmt.Printf("%d Jobs, %d errors\n", n, bad)
	if bad > 0 || n == 0 {
		os.Exit(1)
	}
}

func check(text []byte) (field.ErrorList, error) {
	var given batchv1.Job
	if err := yaml.UnmarshalStrict(text, &given); err != nil {
		return nil, err
	}
	legacyscheme.Scheme.Default(&given)
	var job batch.Job
	if err := legacyscheme.Scheme.Convert(&given, &job, nil); err != nil {
		return nil, err
	}
	// What the server gives a new Job before it validates it.
	if job.Namespace == "" {
		job.Namespace = "default"
	}
	job.UID = "1"
	if job.Spec.Template.Labels == nil {
		job.Spec.Template.Labels = map[string]string{}
	}
	for _, name := range []string{batch.ControllerUidLabel, batch.LegacyControllerUidLabel} {
		job.Spec.Template.Labels[name] = string(job.UID)
	}
	for _, name := range []string{batch.JobNameLabel, batch.LegacyJobNameLabel} {
		job.Spec.Template.Labels[name] = job.Name
	}
	job.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{batch.ControllerUidLabel: string(job.UID)}}
	return validation.ValidateJob(&job, validation.JobValidationOptions{RequirePrefixedLabels: true}), nil
}
