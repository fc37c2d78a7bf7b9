// Package devicetest holds backends to the contract of core/engine/device, all in the same way: trials of every
// kernel with inputs and tolerances, compared with the host's float64, and the behaviours that tests of one
// kernel do not show. It knows nothing of graphs, layers or CLIP.
package devicetest
