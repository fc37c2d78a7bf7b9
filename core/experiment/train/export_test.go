package train

import "testing"

// ShareRows lets ranks share out the loss of smaller batches for the time of a test.
func ShareRows(t *testing.T, from int) {
	before := leastShared
	leastShared = from
	t.Cleanup(func() { leastShared = before })
}
