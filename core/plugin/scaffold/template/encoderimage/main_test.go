package main

import (
	"testing"

	"tandem/core/plugin/conformance"
)

func TestThePluginKeepsTheRules(t *testing.T) {
	conformance.TestEncoder(t, Plugin.New, conformance.EncoderOptions{})
}
