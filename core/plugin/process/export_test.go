package process

// SweepSockets lets tests call sweepSockets.
var SweepSockets = sweepSockets

// Kinds shows tests the kinds of limits.
var Kinds = kinds
