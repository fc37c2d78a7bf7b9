package wire

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/clip"
	"tandem/core/plugin/wire/pb"
)

// Profile implements the service Plugin.
func (s *Server) Profile(ctx context.Context, q *pb.ProfileRequest) (*pb.ProfileResponse, error) {
	p, ok := s.impl.(clip.Profiler)
	if !ok {
		return s.UnimplementedPluginServer.Profile(ctx, q)
	}
	return handle(ctx, s, using, onThread, func() (*pb.ProfileResponse, error) {
		p.SetProfile(q.On)
		return eventsOut(p.KernelRuns()), nil
	})
}

// Memory implements the service Plugin.
func (s *Server) Memory(ctx context.Context, _ *pb.Empty) (*pb.MemoryResponse, error) {
	return handle(ctx, s, using, onThread, func() (*pb.MemoryResponse, error) {
		// Code is read in as it runs, and Go's heap grows: what they take now counts.
		now := programNow()
		heap := now.heap - s.base.heap
		if p, ok := s.impl.(interface{ OnHeap() int64 }); ok {
			heap -= p.OnHeap() // is in the implementation's plan
		}
		out := &pb.MemoryResponse{BaseBytes: s.base.anonymous + now.files + max(0, heap)}
		if p, ok := s.impl.(clip.MemoryReporter); ok {
			out.Parts = partsOut(p.Memory())
		}
		return out, nil
	})
}

// Plan implements the service Plugin.
func (s *Server) Plan(ctx context.Context, q *pb.PlanRequest) (*pb.PlanResponse, error) {
	f, ok := s.impl.(clip.Planner)
	if !ok {
		return s.UnimplementedPluginServer.Plan(ctx, q)
	}
	return handle(ctx, s, planning, onThread, func() (*pb.PlanResponse, error) {
		request := clip.PlanRequest{Batch: int(q.Batch), EvalBatch: int(q.EvalBatch), Accumulate: q.Accumulate, Tokens: q.Tokens, Parts: int(q.Parts)}
		if q.Encoder != nil {
			c := encoderConfigIn(q.Encoder)
			request.Encoder = &c
		}
		if q.Loss != nil {
			c := lossConfigIn(q.Loss)
			request.Loss = &c
		}
		span := begin(nil)
		r, err := f.Plan(ctx, request)
		out := &pb.PlanResponse{Device: valid(r.Device), FreeBytes: r.Free, TotalBytes: r.Total, Parts: partsOut(r.Parts), LeastBytes: r.Least}
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

// Plan asks the plugin what a configuration will take of its device's memory. It returns nil when the plugin
// does not tell.
func (c *Conn) Plan(ctx context.Context, q clip.PlanRequest) (*clip.Plan, error) {
	request := &pb.PlanRequest{Batch: int64(q.Batch), EvalBatch: int64(q.EvalBatch), Accumulate: q.Accumulate, Tokens: q.Tokens, Parts: int64(q.Parts)}
	if q.Encoder != nil {
		request.Encoder = encoderConfigOut(*q.Encoder)
	}
	if q.Loss != nil {
		request.Loss = lossConfigOut(*q.Loss)
	}
	r, err := ask(ctx, c, "Plan", c.plugin.Plan, request)
	if status.Code(err) == codes.Unimplemented {
		return nil, nil
	}
	if err == nil {
		err = c.checkPlan(r)
	}
	if err != nil {
		return nil, err
	}
	return &clip.Plan{Device: r.Device, Free: r.FreeBytes, Total: r.TotalBytes, Parts: partsIn(r.Parts), Least: r.LeastBytes}, nil
}

func partsOut(parts []clip.MemoryPart) (out []*pb.MemoryPart) {
	for _, p := range parts {
		out = append(out, &pb.MemoryPart{Name: valid(p.Name), Bytes: p.Bytes})
	}
	return out
}

func partsIn(parts []*pb.MemoryPart) (out []clip.MemoryPart) {
	for _, p := range parts {
		out = append(out, clip.MemoryPart{Name: p.Name, Bytes: p.Bytes})
	}
	return out
}

// Profile starts or stops the recording of kernels in the plugin and returns those recorded since the last
// call, on this process's clock. A plugin that does not record them returns none.
func (c *Conn) Profile(ctx context.Context, on bool) ([]clip.KernelRun, error) {
	r, err := ask(ctx, c, "Profile", c.plugin.Profile, &pb.ProfileRequest{On: on})
	if status.Code(err) == codes.Unimplemented {
		return nil, nil
	}
	if err == nil {
		err = c.events(r)
	}
	if err != nil {
		return nil, err
	}
	return eventsIn(r), nil
}

// Memory returns what the plugin's memory is used for, and what its program takes beside that, in bytes. It
// returns nothing from a plugin that does not tell.
func (c *Conn) Memory(ctx context.Context) (parts []clip.MemoryPart, base int64, err error) {
	r, err := ask(ctx, c, "Memory", c.plugin.Memory, &pb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		return nil, 0, nil
	}
	if err == nil {
		err = c.memory(r)
	}
	if err != nil {
		return nil, 0, err
	}
	return partsIn(r.Parts), r.BaseBytes, nil
}

func eventsOut(events []clip.KernelRun) *pb.ProfileResponse {
	out := &pb.ProfileResponse{Events: make([]*pb.ProfileEvent, len(events))}
	known := map[string]uint32{}
	place := func(name string) uint32 {
		n, ok := known[name]
		if !ok {
			n = uint32(len(out.Names))
			known[name] = n
			out.Names = append(out.Names, valid(name))
		}
		return n
	}
	for i, e := range events {
		out.Events[i] = &pb.ProfileEvent{Op: place(e.Op), Scope: place(e.Scope), Backward: e.Backward, Flops: e.FLOPs,
			Bytes: e.Bytes, StartNanos: toClock(e.Start), DurationNanos: e.Duration.Nanoseconds()}
	}
	return out
}

func eventsIn(r *pb.ProfileResponse) []clip.KernelRun {
	name := func(i uint32) string {
		if int(i) < len(r.Names) {
			return r.Names[i]
		}
		return ""
	}
	out := make([]clip.KernelRun, len(r.Events))
	for i, e := range r.Events {
		out[i] = clip.KernelRun{Op: name(e.Op), Scope: name(e.Scope), Backward: e.Backward, FLOPs: e.Flops, Bytes: e.Bytes,
			Start: fromClock(e.StartNanos), Duration: time.Duration(e.DurationNanos)}
	}
	return out
}

// Program begins to measure what this process takes beside what it will allocate on purpose: code, libraries,
// Go's runtime. The function that it returns tells it at any later time, in bytes.
func Program() func() int64 {
	base := programNow()
	return func() int64 {
		now := programNow()
		return base.anonymous + now.files + max(0, now.heap-base.heap)
	}
}

// programMemory tells what a process takes beside what the implementation allocates, in bytes; zeros where the
// system does not tell.
type programMemory struct {
	anonymous, files int64 // resident: RssAnon, RssFile
	heap             int64 // Go's, with its garbage
}

func programNow() programMemory {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	p := programMemory{heap: int64(stats.Sys - stats.HeapReleased)}
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		to, ok := map[string]*int64{"RssAnon": &p.anonymous, "RssFile": &p.files}[name]
		if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); ok && err == nil {
			*to = kb << 10
		}
	}
	return p
}
