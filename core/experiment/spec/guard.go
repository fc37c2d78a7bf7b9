package spec

// Guard limits what plugins may do to the machine. The zero value limits nothing.
type Guard struct {
	Sandbox string   `json:"sandbox"` // "": off; off or strict
	Read    []string `json:"read"`    // absolute paths that plugins in the sandbox may read
	// Memory limits the processes of each plugin together; the zero value means no limit.
	Memory Memory `json:"memory"`
	// Processes limits the processes of each plugin; 0 means 1000 in the sandbox, else no limit.
	Processes int `json:"processes"`
	Cores     int `json:"cores"` // 0: all
	// LogLimit bounds the log of each plugin; the zero value: some MiB.
	LogLimit Memory `json:"log_limit"`
}

// Strict reports whether plugins run in the sandbox.
func (g Guard) Strict() bool { return g.Sandbox == "strict" }

// logLimit reports a log limit that is no size, or so small that a log would tell nothing.
func (c *checker) logLimit(tree map[string]any) {
	const least = 64 << 10
	text, ok := lookup(tree, path{"plugins", "log_limit"}).(string)
	if !ok {
		return
	}
	if m, err := ParseMemory(text); err == nil && m.Bytes < least {
		c.fault(path{"plugins", "log_limit"}, "%s is no size for a log", text).WithHint("write 5 MiB; at least 64 KiB")
	}
}
