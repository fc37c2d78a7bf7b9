package host

// SweepSockets is for tests.
var SweepSockets = sweepSockets
