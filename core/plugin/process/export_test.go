package process

// SweepSockets lets tests call sweepSockets.
var SweepSockets = sweepSockets
