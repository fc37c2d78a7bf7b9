// Package spec turns an experiment's YAML into a strict Spec.
//
// Layers, the later winning: built-in defaults ← the files of `extends`, in order ← the file ← the
// environment (RUNNER_SET_TRAIN__BATCH_SIZE=64) ← --set train.batch_size=64. Maps are merged, lists
// replaced. A layer that names another plugin in a section drops the `with` block below it, because
// keys of one plugin mean nothing to another.
//
// Load finds every fault at once, as a fault.List in file order, each with the file, line and column
// of the key or value it is about; base files included. No process is started: `with` blocks are
// checked against the clip.Descriptor that a Catalog gives.
//
// koanf merges the layers; this is its only importer. Its traps, and why nothing else of it is used:
// its decoding ignores unknown keys, reads 1.9 as 1 and "0.07" as a number; its YAML parser loses
// positions and takes duplicate keys; a "." in a key splits it. So values come typed from yaml.v3
// nodes, keys are joined by a character that YAML cannot contain, and decoding is done here.
package spec
