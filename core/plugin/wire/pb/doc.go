// Package pb is the plugin protocol's messages and services, generated from tandem.proto by
// tools/gen.sh; docs/protocol.md explains them. Nothing in it knows what the messages mean: that is
// core/plugin/wire.
package pb
