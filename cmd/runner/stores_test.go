package main_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tandem/core/data/object/objecttest"
	"tandem/core/data/shard"
)

const (
	storeShards  = 6
	storeSamples = 160 // of each shard
	storeBatch   = 20
	storeSteps   = storeShards * storeSamples / storeBatch // an epoch
	storeBallast = 200 << 10                               // bytes of a member beside each picture, so that reading is what takes its time
)

// upload puts shards of pictures of 64 × 64 pixels into a bucket and returns how many bytes they have.
func upload(t *testing.T, s *objecttest.S3) (total int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var pictures [][]byte
	for range 50 {
		m := image.NewRGBA(image.Rect(0, 0, 64, 64))
		base := [3]uint32{rng.Uint32N(200), rng.Uint32N(200), rng.Uint32N(200)}
		for y := range 64 {
			for x := range 64 {
				noise := rng.Uint32N(40)
				m.SetRGBA(x, y, color.RGBA{uint8(base[0] + noise), uint8(base[1] + noise*uint32(x)/64), uint8(base[2] + noise*uint32(y)/64), 255})
			}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, b.Bytes())
	}
	c, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(objecttest.AccessKey, objecttest.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := c.MakeBucket(ctx, "pairs", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "shard.tar")
	ballast := make([]byte, storeBallast)
	for n := range storeShards {
		sum, err := shard.Write(file, func(add func(string, ...shard.Member) error) error {
			for i := range storeSamples {
				at := n*storeSamples + i
				if err := add(fmt.Sprintf("%06d", at), shard.Member{Ending: "jpg", Data: pictures[at%len(pictures)]},
					shard.Member{Ending: "bin", Data: ballast}, shard.Member{Ending: "txt", Data: fmt.Appendf(nil, "picture %d of colour %d", at, at%len(pictures))}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		total += sum.Bytes
		if _, err := c.FPutObject(ctx, "pairs", fmt.Sprintf("train/%05d.tar", n), file, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return total
}

// link stands for the way to a store: each request takes a while, and so many bytes a second come through.
type link struct {
	Address string
	bytes   atomic.Int64
	mu      sync.Mutex
}

const (
	linkDelay = 20 * time.Millisecond
	linkBytes = 50e6 // a second
)

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := &link{Address: l.Addr().String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil { // as a server that is away
				near.(*net.TCPConn).SetLinger(0)
				near.Close()
				continue
			}
			pass := func(to, from net.Conn, wait func(n int)) {
				defer to.Close()
				defer from.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := from.Read(buffer)
					if n > 0 {
						wait(n)
						if _, err := to.Write(buffer[:n]); err != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			}
			go pass(far, near, func(int) { time.Sleep(linkDelay) })
			go pass(near, far, func(n int) {
				k.bytes.Add(int64(n))
				k.mu.Lock()
				defer k.mu.Unlock()
				time.Sleep(time.Duration(float64(n) / linkBytes * 1e9))
			})
		}
	}()
	return k
}

// Training reads shards from an S3 server that is killed for ten seconds in the middle. It goes on, says that it waited, and has
// the weights of a training that nothing disturbed. The log has what a first and a second run over the same shards take.
func TestATrainingOutlivesItsStore(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("a minute, and an S3 server; TANDEM_LONG is not set")
	}
	server := objecttest.Start(t)
	total := upload(t, server)
	way := newLink(t, strings.TrimPrefix(server.Endpoint, "http://"))
	server.Env()
	t.Setenv("AWS_ENDPOINT_URL", "http://"+way.Address)
	spec := func(cache string) string {
		text := strings.Replace(tiny, "{dataset: emoji, with: {split: train}}",
			fmt.Sprintf("{dataset: webdataset, shuffle: shards, shuffle_window: 50, with: {shards: ['s3://pairs/train/*.tar'], cache_size: %s}}", cache), 1)
		return strings.NewReplacer("batch_size: 16", fmt.Sprintf("batch_size: %d", storeBatch), "max_steps: 24", fmt.Sprintf("max_steps: %d", storeSteps),
			"checkpoint_every: 8", "checkpoint_every: 2").Replace(text)
	}

	// Cold and warm.
	calm := t.TempDir()
	write(t, calm, "calm.yaml", spec("1 GiB"))
	var want map[string][]byte
	for _, name := range []string{"cold", "warm"} {
		way.bytes.Store(0)
		began := time.Now()
		id := strings.TrimSpace(must(t, calm, "run", "calm.yaml", "-q"))
		t.Logf("%s cache: a run of one epoch over %d samples in %d MB takes %.1f s, %.1f MB came from the store (%d MB/s, %s a request)", name,
			storeShards*storeSamples, total/1e6, time.Since(began).Seconds(), float64(way.bytes.Load())/1e6, int(linkBytes/1e6), linkDelay)
		want = files(t, calm, id, storeSteps)
	}
	if n := way.bytes.Load(); n > total/100 {
		t.Errorf("with a warm cache %d bytes of %d came from the store", n, total)
	}

	// Disturbed, with a cache that is too small for the set: what was read to index it is read again to train.
	dir := t.TempDir()
	write(t, dir, "calm.yaml", spec("32 MiB"))
	run := command(t, dir, "run", "calm.yaml", "-q")
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	steps := func() (last int) {
		found, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-*"))
		for _, path := range found {
			n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "step-"))
			last = max(last, n)
		}
		return last
	}
	waitFor(t, func() bool { return steps() >= storeSteps/4 || len(ended) > 0 })
	killed := steps()
	server.Kill()
	time.Sleep(10 * time.Second)
	if len(ended) > 0 {
		t.Fatalf("the training ended: %s", out.String())
	}
	t.Logf("the server was killed at step %d of %d and is away until now, at step %d", killed, storeSteps, steps())
	server.Restart()
	if err := <-ended; err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	id := strings.TrimSpace(out.String())
	same(t, want, files(t, dir, id, storeSteps))
	log := must(t, dir, "logs", id, "--plugin", "data.train")
	for _, words := range []string{"waiting up to 5 min for s3://pairs/train/", "the server answers again, after "} {
		if strings.Count(log, words) != 1 {
			t.Errorf("%q is not once in the log:\n%s", words, log)
		}
	}
	if everything, err := os.ReadFile(filepath.Join(dir, "results/results.db")); err != nil || bytes.Contains(everything, []byte(objecttest.SecretKey)) || strings.Contains(log, objecttest.SecretKey) {
		t.Errorf("the secret key is in the database or the log (%v)", err)
	}
	t.Log(strings.TrimSpace(log))
}
