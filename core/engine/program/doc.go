// Package program holds what an encoder (core/engine/tower) and a loss (core/engine/loss) need around their
// graphs: a Cache of programs by shape, a Session with the device that they compute on, and Trained, the optimiser
// of their parameters.
//
// Everything here is for one goroutine, as programs are.
package program
