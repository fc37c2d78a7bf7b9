package train_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// linear implements a real, tiny encoder: features of the input, one matrix, unit rows, plain SGD.
type linear struct {
	dim      int
	w, g     []float64 // [dim, feats]
	next     clip.Ticket
	tickets  map[clip.Ticket][][]float64 // features by row
	forwards int
}

const feats = 12

func newLinear(dim int, seed uint64) *linear {
	l := &linear{dim: dim, w: make([]float64, dim*feats), g: make([]float64, dim*feats), tickets: map[clip.Ticket][][]float64{}}
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range l.w {
		l.w[i] = rng.NormFloat64()
	}
	return l
}

func features(r clip.ForwardRequest) [][]float64 {
	var rows [][]float64
	if r.Images != nil {
		for i := range r.Images.Shape[0] {
			row := make([]float64, feats)
			for j := range row {
				row[j] = float64(r.Images.U8()[i*feats+j])/127.5 - 1
			}
			rows = append(rows, row)
		}
		return rows
	}
	for _, text := range r.Texts {
		row := make([]float64, feats)
		for _, b := range []byte(text) {
			row[int(b)%feats]++
		}
		rows = append(rows, row)
	}
	return rows
}

func (l *linear) project(x []float64) (unit []float64, norm float64) {
	unit = make([]float64, l.dim)
	for d := range unit {
		for j, v := range x {
			unit[d] += l.w[d*feats+j] * v
		}
		norm += unit[d] * unit[d]
	}
	norm = math.Sqrt(norm)
	for d := range unit {
		unit[d] /= norm
	}
	return unit, norm
}

func (l *linear) Configure(context.Context, clip.EncoderConfig) (clip.EncoderInfo, error) {
	return clip.EncoderInfo{EmbedDim: l.dim}, nil
}

func (l *linear) Forward(_ context.Context, r clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	l.forwards++
	rows := features(r)
	out := tensor.New(tensor.F32, len(rows), l.dim)
	for i, x := range rows {
		u, _ := l.project(x)
		for d, v := range u {
			out.F32()[i*l.dim+d] = float32(v)
		}
	}
	if r.Mode != clip.Train {
		return out, 0, nil
	}
	l.next++
	l.tickets[l.next] = rows
	return out, l.next, nil
}

func (l *linear) Backward(_ context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	rows, ok := l.tickets[t]
	if !ok {
		return fmt.Errorf("ticket %d", t)
	}
	delete(l.tickets, t)
	for i, x := range rows {
		u, norm := l.project(x)
		dot := 0.0
		for d := range u {
			dot += u[d] * float64(grad.F32()[i*l.dim+d])
		}
		for d := range u {
			dy := (float64(grad.F32()[i*l.dim+d]) - dot*u[d]) / norm
			for j, v := range x {
				l.g[d*feats+j] += dy * v
			}
		}
	}
	return nil
}

func (l *linear) Discard(context.Context, clip.Ticket) error { return nil }
func (l *linear) Close() error                               { return nil }

func (l *linear) GradNorm(context.Context) (float64, error) { return squares(l.g), nil }
func (l *linear) Step(_ context.Context, _ int, lr, scale float64) error {
	descend(l.w, l.g, lr*scale)
	return nil
}
func (l *linear) Save(_ context.Context, path string) error { return save(path, l.w) }
func (l *linear) Load(_ context.Context, path string) error { return load(path, &l.w) }

// clipLoss implements the symmetric contrastive loss with a learnable logit scale.
type clipLoss struct{ s, g []float64 }

func (c *clipLoss) Configure(context.Context, clip.LossConfig) (clip.LossInfo, error) {
	return clip.LossInfo{Parameters: 1}, nil
}

func (c *clipLoss) Compute(_ context.Context, r clip.LossRequest) (*clip.LossResult, error) {
	b, dim := r.Image.Shape[0], r.Image.Shape[1]
	v, t := r.Image.F32(), r.Text.F32()
	scale := math.Exp(c.s[0])
	cos := make([]float64, b*b)
	for i := range b {
		for j := range b {
			for d := range dim {
				cos[i*b+j] += float64(v[i*dim+d]) * float64(t[j*dim+d])
			}
		}
	}
	res := &clip.LossResult{DImage: tensor.New(tensor.F32, b, dim), DText: tensor.New(tensor.F32, b, dim),
		Scalars: map[string]float64{"logit_scale": scale}}
	for _, by := range []func(i, j int) int{func(i, j int) int { return i*b + j }, func(i, j int) int { return j*b + i }} {
		for i := range b {
			if r.Rows > 0 && (i < r.RowOffset || i >= r.RowOffset+r.Rows) {
				continue
			}
			sum := 0.0
			for j := range b {
				sum += math.Exp(scale * cos[by(i, j)])
			}
			res.Value += (math.Log(sum) - scale*cos[by(i, i)]) / float64(2*b)
			for j := range b {
				p := math.Exp(scale*cos[by(i, j)]) / sum
				if i == j {
					p--
				}
				p /= float64(2 * b)
				c.g[0] += p * scale * cos[by(i, j)]
				row, col := by(i, j)/b, by(i, j)%b
				for d := range dim {
					res.DImage.F32()[row*dim+d] += float32(p * scale * float64(t[col*dim+d]))
					res.DText.F32()[col*dim+d] += float32(p * scale * float64(v[row*dim+d]))
				}
			}
		}
	}
	return res, nil
}

func (c *clipLoss) Close() error                              { return nil }
func (c *clipLoss) GradNorm(context.Context) (float64, error) { return squares(c.g), nil }
func (c *clipLoss) Step(_ context.Context, _ int, lr, scale float64) error {
	descend(c.s, c.g, lr*scale)
	return nil
}
func (c *clipLoss) Save(_ context.Context, path string) error { return save(path, c.s) }
func (c *clipLoss) Load(_ context.Context, path string) error { return load(path, &c.s) }

func squares(g []float64) (sum float64) {
	for _, v := range g {
		sum += v * v
	}
	return sum
}

func descend(w, g []float64, lr float64) {
	for i := range w {
		w[i] -= lr * g[i]
		g[i] = 0
	}
}

func save(path string, w []float64) error {
	data, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func load(path string, w *[]float64) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, w)
}

// patterns implements a dataset of 2×2 pictures whose captions spell their pixels.
type patterns struct{ n int }

func (p *patterns) Configure(context.Context, clip.DatasetConfig) (clip.DatasetInfo, error) {
	return clip.DatasetInfo{Len: p.n}, nil
}

func (p *patterns) Batch(_ context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	b := &clip.Batch{Images: tensor.New(tensor.U8, len(r.Indices), 2, 2, 3)}
	for i, index := range r.Indices {
		rng := rand.New(rand.NewPCG(uint64(index), 2))
		text := make([]byte, 0, 3*feats)
		for j := range feats {
			v := byte(rng.IntN(256))
			b.Images.U8()[i*feats+j] = v
			for range v / 64 {
				text = append(text, byte(feats*7+j)) // a letter per pixel, as often as it is bright
			}
		}
		b.Captions = append(b.Captions, string(append(text, byte(feats*7+r.Epoch%2))))
		b.Keys = append(b.Keys, fmt.Sprint(index))
	}
	return b, nil
}

func (p *patterns) Captions(context.Context, int) ([]string, error) { return nil, nil }
func (p *patterns) Close() error                                    { return nil }

// memory implements a Recorder that keeps everything.
type memory struct {
	sync.Mutex
	metrics     map[string]map[int]float64
	events      []string
	checkpoints []string
}

func newMemory() *memory { return &memory{metrics: map[string]map[int]float64{}} }

func (m *memory) Metrics(step int, values []clip.Metric) error {
	m.Lock()
	defer m.Unlock()
	for _, v := range values {
		if m.metrics[v.Name] == nil {
			m.metrics[v.Name] = map[int]float64{}
		}
		m.metrics[v.Name][step] = v.Value
	}
	return nil
}
func (m *memory) Predictions(int, string, string, []clip.Prediction) error { return nil }
func (m *memory) Event(level, kind, message, detail string) error {
	m.events = append(m.events, kind)
	return nil
}
func (m *memory) Checkpoint(step int, dir string) error {
	m.checkpoints = append(m.checkpoints, dir)
	return nil
}
func (m *memory) Flush(context.Context) error { return nil }
