package eval

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"

	"tandem/core/experiment/collective"
	"tandem/core/fault"
)

// Ranks evaluate together: each embeds its share of the batches, and rank 0 takes the figures of them all. The batches are those of one
// rank alone, so that the figures are too.
type Ranks struct {
	Group collective.Group
	// Until ends the exchange between ranks. It outlasts the context of an evaluation, so that ranks which break one off at
	// different moments end it together.
	Until context.Context
}

// round limits how many batches a rank embeds before the ranks exchange theirs.
const round = 32

// shared has this rank do its share of n pieces of work, by their numbers, and gives take the results of all ranks, in order. An
// error at one rank is the error of all.
func shared[T any](r *Ranks, n int, do func(numbers []int, done func(T) error) error, take func(T) error) error {
	if r == nil {
		numbers := make([]int, n)
		for k := range numbers {
			numbers[k] = k
		}
		return do(numbers, take)
	}
	size := r.Group.Size()
	for first := 0; first < n; first += round * size {
		end := min(n, first+round*size)
		var numbers []int
		for k := first + r.Group.Rank(); k < end; k += size {
			numbers = append(numbers, k)
		}
		var mine []T
		err := fault.Safely(func() error {
			return do(numbers, func(x T) error { mine = append(mine, x); return nil })
		})()
		if err := collective.Agree(r.Until, r.Group, err); err != nil {
			return err
		}
		all, err := gather(r, mine)
		if err != nil {
			return err
		}
		for k := range end - first {
			if err := take(all[k%size][k/size]); err != nil { // the same on every rank
				return err
			}
		}
	}
	return nil
}

// gather returns what every rank has, in the order of ranks.
func gather[T any](r *Ranks, mine []T) ([][]T, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(mine); err != nil {
		return nil, fault.New(fault.Internal, "evaluation: %w", err)
	}
	parts, err := r.Group.Gather(r.Until, b.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([][]T, len(parts))
	for i, part := range parts {
		if err := gob.NewDecoder(bytes.NewReader(part)).Decode(&all[i]); err != nil {
			return nil, fault.New(fault.Internal, "evaluation: rank %d: %w", i, err)
		}
	}
	return all, nil
}

// place names features within a plan.
type place struct {
	Evaluation      int
	Train, Averaged bool
}

// request is what rank 0 asks the others to share in while it takes figures.
type request struct {
	Of     place
	Texts  []string // to embed
	Change Change   // or pictures to embed once more
	Over   bool     // or nothing more, of this evaluation
}

// ask tells the other ranks what rank 0 does next, in which they share.
func (r *Ranks) ask(q request) error {
	if r == nil {
		return nil
	}
	gob.Register(Spoilt{})
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(q); err != nil {
		return fault.New(fault.Internal, "evaluation: %w", err)
	}
	_, err := r.Group.Broadcast(r.Until, b.Bytes())
	return err
}

// serve shares in what rank 0 does until that has its figures.
func (r *Ranks) serve(ctx context.Context, features func(place) *Features) error {
	gob.Register(Spoilt{})
	for {
		data, err := r.Group.Broadcast(r.Until, nil)
		if err != nil {
			return err
		}
		var q request
		if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&q); err != nil {
			return fault.New(fault.Internal, "evaluation: %w", err)
		}
		switch {
		case q.Over:
			return collective.Agree(r.Until, r.Group, nil)
		case q.Change != nil:
			_, err = features(q.Of).changed(ctx, q.Change)
		default:
			_, err = features(q.Of).embedTexts(ctx, q.Texts)
		}
		_ = err // rank 0 has it too, and ends the evaluation with it
	}
}

// settle ends what serve began, with the error of rank 0 as that of all.
func (r *Ranks) settle(err error) error {
	if r == nil {
		return err
	}
	if err := r.ask(request{Over: true}); err != nil {
		return err
	}
	return collective.Agree(r.Until, r.Group, err)
}

// GobEncode writes a matrix as bytes, for other ranks.
func (m Matrix) GobEncode() ([]byte, error) {
	return binary.Append(binary.LittleEndian.AppendUint32(nil, uint32(m.Cols)), binary.LittleEndian, m.Data)
}

// GobDecode reads what GobEncode wrote.
func (m *Matrix) GobDecode(data []byte) error {
	if len(data) < 4 || len(data)%4 != 0 {
		return fault.New(fault.Internal, "a matrix of %d bytes", len(data))
	}
	m.Cols, m.Data = int(binary.LittleEndian.Uint32(data)), make([]float32, len(data)/4-1)
	if _, err := binary.Decode(data[4:], binary.LittleEndian, m.Data); err != nil {
		return fault.New(fault.Internal, "%w", err)
	}
	m.Rows = len(m.Data) / max(m.Cols, 1)
	return nil
}
