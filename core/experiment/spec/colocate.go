package spec

import "encoding/json"

// Colocate says whether towers and loss share a process.
type Colocate string

// The values of Train.Colocate.
const (
	ColocateAuto   = "auto"  // where that is possible and they share a GPU
	ColocateAlways = "true"  // or the run does not begin
	ColocateNever  = "false" // a process each
)

// UnmarshalJSON reads auto, true or false. Specs that were resolved before there was the key have a process each.
func (c *Colocate) UnmarshalJSON(data []byte) error {
	if string(data) == "true" || string(data) == "false" {
		*c = Colocate(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(c))
}

// colocate checks a value of train.colocate.
func (c *checker) colocate(value any, p path) any {
	switch value {
	case true, false, ColocateAuto:
		return value
	}
	c.fault(p, "unknown value %s", show(value)).WithHint("auto, true or false")
	return bad{}
}
