package spec

import "encoding/json"

// Switch says whether something is done, or leaves that to the program.
type Switch string

// The values of a Switch.
const (
	Auto Switch = "auto"  // where it helps
	On   Switch = "true"  // or the run does not begin
	Off  Switch = "false" // never
)

// UnmarshalJSON reads auto, true or false.
func (s *Switch) UnmarshalJSON(data []byte) error {
	if string(data) == "true" || string(data) == "false" {
		*s = Switch(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(s))
}

// switched checks the value of a Switch.
func (c *checker) switched(value any, p path) any {
	switch value {
	case true, false, string(Auto):
		return value
	}
	c.fault(p, "unknown value %s", show(value)).WithHint("auto, true or false")
	return bad{}
}
