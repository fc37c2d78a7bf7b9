package main

import (
	"testing"

	"tandem/core/plugin/conformance"
)

func TestThePluginKeepsTheRules(t *testing.T) {
	conformance.TestLoss(t, Plugin.New, conformance.LossOptions{Capabilities: Plugin.Capabilities})
}
