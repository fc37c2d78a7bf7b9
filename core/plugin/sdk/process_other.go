//go:build !unix

package sdk

func keepStdoutForHandshake() error { return nil }

func closeOnExec(int) {}

func onTerminate(func()) {}

func killFamily() {}
