package wire

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/plugin/wire/pb"
)

// settleWait limits how long a cancelled call waits for the plugin to let go of its memory. Then the call
// returns and a goroutine goes on waiting.
const settleWait = 500 * time.Millisecond

// settle gives the memory of a cancelled call back when the plugin says that the call has ended. If the plugin
// never says so, the memory stays in use until the run ends.
func (c *Conn) settle(use *lease) {
	held := &lease{slots: use.slots} // the caller must not release them
	use.slots = nil
	if len(held.slots) == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if _, err := c.plugin.Settle(ctx, &pb.Empty{}); err == nil || status.Code(err) == codes.Unavailable {
			held.release()
		}
	}()
	timeout := time.NewTimer(settleWait)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}
