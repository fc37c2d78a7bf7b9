package process

// SweepSockets is for tests.
var SweepSockets = sweepSockets
