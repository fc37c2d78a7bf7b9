package main

import (
	"testing"

	"tandem/core/plugin/conformance"
)

func TestThePluginKeepsTheRules(t *testing.T) {
	conformance.TestDataset(t, Plugin.New, conformance.DatasetOptions{Splits: []string{`{"split": "train"}`, `{"split": "test"}`}})
}
