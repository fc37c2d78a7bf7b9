// Package devicetest has trials of every kernel, with inputs and tolerances, so that tests hold every
// backend to the reference in the same way. It knows nothing of graphs, layers or CLIP.
package devicetest
