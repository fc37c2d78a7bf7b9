package process_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/wire"
	"tandem/core/tensor"
)

// The test binary is its own plugins: under the name that a plugin has, or with a plugin's
// environment, it serves.
func TestMain(m *testing.M) {
	asked := len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--")
	if os.Getenv(wire.Handshake.MagicCookieKey) != "" || asked {
		switch filepath.Base(os.Args[0]) {
		case "echo":
			if fd, err := strconv.Atoi(os.Getenv(wire.EnvArenaFD)); err == nil {
				shared, _ = syscall.Dup(fd) // the SDK closes it
			}
			sdk.ServeEncoder(echo)
		case "dot":
			sdk.ServeLoss(dot)
		case "count":
			sdk.ServeDataset(count)
		case "older":
			fmt.Println("1|7|unix|/nowhere|grpc|")
			time.Sleep(time.Minute)
		case "crash":
			fmt.Fprintln(os.Stderr, "no such library: libfoo.so")
			os.Exit(3)
		case "chatty":
			fmt.Println("hello, I am no plugin")
			time.Sleep(time.Minute)
		case "bare":
			serveBare()
		case "colocated":
			sdk.ServeColocated(sdk.Colocated{Encoders: []sdk.Encoder{echo}, Losses: []sdk.Loss{dot}})
		case "mute":
			time.Sleep(time.Minute)
		}
	}
	if os.Getenv("TANDEM_TEST_RUNNER") != "" {
		actAsRunner()
	}
	os.Exit(m.Run())
}

// serveBare serves an echo with the services of the protocol alone, as programs in other languages do.
func serveBare() {
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	d := echo.Descriptor()
	d.Name, d.Version, d.Protocol = "bare", "", 1
	server := grpc.NewServer(wire.ServerOptions()...)
	wire.NewServer(d, nil).Encoder(server, echo.New())
	fmt.Printf("1|1|unix|%s|grpc|\n", socket)
	panic(server.Serve(listener))
}

// shared sets the memory that all plugins of the session have; 0: none.
var shared int

var echo = sdk.Encoder{
	Name: "echo", Version: "1.2.3", Summary: "gives back what it gets", Modality: clip.Text,
	Config: echoConfig{Width: 8}, New: func() clip.Encoder { return &echoEncoder{} },
}

type echoConfig struct {
	Width int  `with:"width" min:"1" help:"of nothing"`
	Fail  bool `with:"fail" help:"fail to configure"`
}

// echoEncoder embeds text i of a batch as D copies of its length, pictures as copies of their first
// byte. Some texts make it misbehave.
type echoEncoder struct {
	dim  int
	grad float64
	step []float64
}

func (e *echoEncoder) Configure(_ context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	cfg := echoConfig{Width: 8}
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return clip.EncoderInfo{}, err
	}
	if cfg.Fail {
		return clip.EncoderInfo{}, fault.List{
			fault.New(fault.Invalid, "first").WithPath("with.a").WithHint("do this"),
			fault.New(fault.Numeric, "second").WithFile("x.yaml", 3, 4),
		}
	}
	e.dim = c.EmbedDim
	return clip.EncoderInfo{Modality: clip.Text, EmbedDim: e.dim, Parameters: int64(c.Compute.Threads), VocabSize: len(c.Captions),
		ContextLength: 77, FLOPs: 1e18, Backend: c.Optimizer.Name + " " + os.Getenv("OMP_NUM_THREADS") + os.Getenv("SECRET")}, nil
}

func (e *echoEncoder) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	n := len(q.Texts)
	if q.Images != nil {
		n = q.Images.Shape[0]
	}
	out := tensor.New(tensor.F32, n, e.dim)
	for i := range n {
		value := float32(0)
		if q.Images != nil {
			value = float32(q.Images.Data[i*len(q.Images.Data)/n])
		} else if err := misbehave(ctx, q.Texts[i]); err != nil {
			return nil, 0, err
		} else {
			value = float32(len(q.Texts[i]))
		}
		for d := range e.dim {
			out.F32()[i*e.dim+d] = value
		}
	}
	return out, clip.Ticket(q.Step*1000 + q.Micro*10 + int(q.Mode)), nil
}

func misbehave(ctx context.Context, text string) error {
	switch word, arg, _ := strings.Cut(text, " "); word {
	case "panic":
		panic("as asked")
	case "exit":
		fmt.Println("my last words")
		os.Exit(5)
	case "sleep":
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return ctx.Err()
		}
	case "stubborn": // until there is a file of this name; it makes one beside it when it begins
		if err := os.WriteFile(arg+".begun", nil, 0o644); err != nil {
			return err
		}
		for {
			if _, err := os.Stat(arg); err == nil {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
	case "scribbler": // all over the shared memory, until it is ended
		mem, err := syscall.Mmap(shared, 0, 16<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_NORESERVE)
		if err != nil {
			return err
		}
		for at := 1 << 30; at < len(mem); at += os.Getpagesize() {
			mem[at] = 1
		}
		return nil
	case "garbage":
		// As a C library does: straight to fd 1, no newline in it.
		line := []byte(strings.Repeat("progress\r", 1<<16))
		for range 10 {
			for rest := line; len(rest) > 0; {
				n, err := syscall.Write(1, rest)
				if err != nil {
					return err
				}
				rest = rest[n:]
			}
		}
	case "read":
		_, err := os.ReadFile(arg)
		return err
	case "write":
		return os.WriteFile(arg, []byte("was here"), 0o644)
	case "chmod":
		return os.Chmod(arg, 0)
	case "dial":
		c, err := net.Dial("tcp", arg)
		if err == nil {
			c.Close()
		}
		return err
	case "signal":
		pid, err := strconv.Atoi(arg)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGURG)
		}
		return err
	case "shell":
		out, err := exec.Command("/bin/sh", "-c", arg).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	case "descriptors": // only pipes, sockets, the shared memory, the bin, and what the Go runtime opens
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		for _, fd := range open {
			to, err := os.Readlink("/proc/self/fd/" + fd.Name())
			if err == nil && !regexp.MustCompile(`^(pipe:|socket:|anon_inode:|/memfd:tandem-arena|/dev/null$|/sys/|/proc/\d+/fd$)`).MatchString(to) {
				return fmt.Errorf("descriptor %s is %s", fd.Name(), to)
			}
		}
		return nil
	case "cores":
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil || strconv.Itoa(set.Count()) != arg {
			return fmt.Errorf("%d cores, %w", set.Count(), err)
		}
		return nil
	case "hog": // until it is ended
		var taken [][]byte
		for ctx.Err() == nil {
			block := make([]byte, 32<<20)
			for i := range block {
				block[i] = byte(i)
			}
			taken = append(taken, block)
		}
		return fmt.Errorf("%d blocks, %w", len(taken), ctx.Err())
	case "leaver":
		return leave(ctx, arg)
	case "child":
		cmd := exec.Command("sleep", "300")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		return os.WriteFile(arg, fmt.Append(nil, cmd.Process.Pid), 0o644)
	case "fault":
		return fmt.Errorf("block 3: %w", fault.New(fault.Numeric, "loss is %v", math.NaN()).WithOp("forward").
			WithHint("lower the learning rate").WithDetail("line 1\nline 2").WithPath("with.x").WithFile("f", 1, 2))
	}
	return nil
}

func (e *echoEncoder) Backward(_ context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	if t != 12031 {
		return fault.New(fault.Conflict, "ticket %d is unknown", t)
	}
	for _, g := range grad.F32() {
		e.grad += float64(g) * float64(g)
	}
	return nil
}

func (e *echoEncoder) Discard(context.Context, clip.Ticket) error { return nil }

func (e *echoEncoder) GradNorm(context.Context) (float64, error) { return e.grad, nil }

func (e *echoEncoder) Step(_ context.Context, step int, lr, scale float64) error {
	e.step = []float64{float64(step), lr, scale}
	return nil
}

func (e *echoEncoder) Save(_ context.Context, path string) error {
	step := make([]float32, 3)
	for i, v := range e.step {
		step[i] = float32(v)
	}
	return weights.Write(path, []weights.Tensor{weights.FromF32("step", step, 3)}, nil)
}

func (e *echoEncoder) Load(_ context.Context, path string) error {
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	step, err := f.F32("step", 3)
	if err != nil {
		return err
	}
	e.step = []float64{float64(step[0]), float64(step[1]), float64(step[2])}
	return nil
}

func (e *echoEncoder) Close() error { return nil }

var dot = sdk.Loss{Name: "dot", Version: "1.0.0", Summary: "negative mean dot product",
	New: func() clip.Loss { return &dotLoss{} }}

type dotLoss struct{ echoEncoder }

func (l *dotLoss) Configure(_ context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	return clip.LossInfo{Parameters: int64(c.BatchSize), Backend: "plain"}, nil
}

func (l *dotLoss) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	if !q.Image.Shape.Equal(q.Text.Shape) {
		return nil, fault.New(fault.Invalid, "image is %v, text is %v", q.Image.Shape, q.Text.Shape)
	}
	r := &clip.LossResult{Parts: map[string]float64{"dot": -1.5}, Scalars: map[string]float64{"logit_scale": 14}}
	n := q.Image.Shape[0]
	per := make([]float32, n)
	for i := range q.Image.F32() {
		per[i*n/len(q.Image.F32())] -= q.Image.F32()[i] * q.Text.F32()[i]
	}
	for _, v := range per {
		r.Value += float64(v) / float64(n)
	}
	if q.PerSample {
		r.PerSample = map[string][]float32{"dot": per}
	}
	if q.Train {
		r.DImage, r.DText = q.Text.Clone(), q.Image.Clone()
		for i := range r.DImage.F32() {
			r.DImage.F32()[i] /= -float32(n)
			r.DText.F32()[i] /= -float32(n)
		}
	}
	return r, nil
}

var count = sdk.Dataset{Name: "count", Version: "1.0.0", Summary: "picture i is all i",
	Sizes: []clip.Size{{When: map[string]any{}, N: 100}}, New: func() clip.Dataset { return &countDataset{} }}

type countDataset struct {
	cfg  clip.DatasetConfig
	mu   sync.Mutex
	busy int
	most int
}

func (d *countDataset) Configure(_ context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	d.cfg = c
	return clip.DatasetInfo{Len: 100, Targets: []clip.Target{{Name: "parity", Classes: []string{"even", "odd"}}},
		Digest: "abc", Skipped: 2, Note: fmt.Sprint(c.Augment)}, nil
}

func (d *countDataset) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	d.mu.Lock()
	d.busy++
	d.most = max(d.most, d.busy)
	d.mu.Unlock()
	defer func() { d.mu.Lock(); d.busy--; d.mu.Unlock() }()
	images := q.Into
	if images == nil {
		images = tensor.New(tensor.U8, len(q.Indices), d.cfg.ImageSize, d.cfg.ImageSize, 3)
	}
	b := &clip.Batch{Images: images, Labels: map[string][]int32{}}
	per := len(images.Data) / max(1, len(q.Indices))
	for i, index := range q.Indices {
		if index == 99 { // as slow as a bad disk
			if err := misbehave(ctx, "sleep"); err != nil {
				return nil, err
			}
		}
		for j := range per {
			images.Data[i*per+j] = byte(index)
		}
		b.Captions = append(b.Captions, fmt.Sprintf("caption %d of epoch %d \xff", index, q.Epoch))
		b.Keys = append(b.Keys, fmt.Sprint(index))
		b.Groups = append(b.Groups, int64(index))
		b.Labels["parity"] = append(b.Labels["parity"], int32(index%2))
		if !q.Train {
			b.All = append(b.All, []string{"a", "b"})
		}
	}
	b.Faults = []clip.SampleFault{{Index: 1, Key: "k", Msg: "broken"}}
	return b, nil
}

func (d *countDataset) Captions(_ context.Context, limit int) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []string{"one", fmt.Sprint(d.most), fmt.Sprint(limit)}, nil
}

func (d *countDataset) Close() error { return nil }

// testCatalog lays the test binary out as a folder of plugins.
func testCatalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"encoders/echo", "losses/dot", "datasets/count"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, path); err != nil {
			t.Fatal(err)
		}
	}
	return &catalog.Catalog{Roots: []string{root}}
}

func session(t *testing.T, o process.SessionOptions) *process.Session {
	t.Helper()
	if o.Catalog == nil {
		o.Catalog = testCatalog(t)
	}
	s, err := process.NewSession(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// encoder starts and configures an echo.
func encoder(t testing.TB, s *process.Session) (clip.Encoder, *process.Process) {
	t.Helper()
	e, p, err := s.StartEncoder(t.Context(), "echo", process.StartOptions{Threads: 2})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 4}); err != nil {
		t.Fatal(err)
	}
	return e, p
}

func forward(t *testing.T, e clip.Encoder, texts ...string) error {
	t.Helper()
	out, _, err := e.Forward(t.Context(), clip.ForwardRequest{Texts: texts})
	if err == nil {
		if got := out.F32()[0]; got != float32(len(texts[0])) {
			t.Errorf("embedding of %q is %v", texts[0], got)
		}
	}
	out.Free()
	return err
}
