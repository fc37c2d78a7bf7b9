package weights

import (
	"encoding/json"
	"strings"

	"tandem/core/fault"
)

// MetaLoRA names the metadata of checkpoints with adapters, the JSON of a LoRA.
const MetaLoRA = "lora"

// LoRA describes the adapters of a checkpoint (Hu et al. 2022, arXiv 2106.09685): beside a matrix W there are W.lora_A
// [rank, …] and W.lora_B [rows, rank], and what the network computes with is W + (Alpha/Rank)·B·A.
type LoRA struct {
	Rank  int     `json:"rank"`
	Alpha float64 `json:"alpha"`
}

// LoRA returns the adapters of a file; nil when it has none.
func (f *File) LoRA() (*LoRA, error) {
	text := f.Metadata()[MetaLoRA]
	if text == "" {
		return nil, nil
	}
	var l LoRA
	if err := json.Unmarshal([]byte(text), &l); err != nil || l.Rank < 1 {
		return nil, fault.New(fault.Corrupt, "lora in the metadata is %q", text).WithFile(f.Path(), 0, 0)
	}
	return &l, nil
}

// IsAdapter reports whether a tensor is a matrix of an adapter.
func IsAdapter(name string) bool {
	return strings.HasSuffix(name, SuffixA) || strings.HasSuffix(name, SuffixB)
}

// Merge returns W + (Alpha/Rank)·B·A of the matrix W of a file, given the names of its adapter's matrices. The sum is
// computed in double precision and rounded once.
func (l *LoRA) Merge(f *File, name, a, b string) (Tensor, error) {
	w, err := f.Read(name)
	if err != nil {
		return Tensor{}, err
	}
	values, err := w.F32()
	if err != nil {
		return Tensor{}, err
	}
	if len(w.Shape) < 2 {
		return Tensor{}, fault.New(fault.Corrupt, "%s %v is no matrix, and has an adapter", name, w.Shape).WithFile(f.Path(), 0, 0)
	}
	rows := w.Shape[0]
	columns := len(values) / rows
	av, err := f.F32(a, append([]int{l.Rank}, w.Shape[1:]...)...)
	if err != nil {
		return Tensor{}, err
	}
	bv, err := f.F32(b, rows, l.Rank)
	if err != nil {
		return Tensor{}, err
	}
	scale, row := l.Alpha/float64(l.Rank), make([]float64, columns)
	for i := range rows {
		clear(row)
		for k := range l.Rank {
			factor := float64(bv[i*l.Rank+k])
			for j, x := range av[k*columns : (k+1)*columns] {
				row[j] += factor * float64(x)
			}
		}
		for j, x := range row {
			at := &values[i*columns+j]
			*at = float32(float64(*at) + scale*x)
		}
	}
	return FromF32(name, values, w.Shape...), nil
}
