//go:build clipcuda

package cuda

import "tandem/core/engine/device"

// attentionCode launches attention.cu, attention_back.cu and attention_at.cu of kernels. Each head size up to
// 256 goes to the entry for the next of 64, 128 and 256; grids are heads of sequences by tiles of queries.
func attentionCode(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.Attention:
		return attention(k), k.HeadDim <= 256 && !k.BF16
	case device.AttentionBack:
		return attentionBack(device.Attention(k)), k.HeadDim <= 256 && !k.BF16
	case device.AttentionAt:
		return attentionAt(k, false), k.HeadDim <= 256
	case device.AttentionAtBack:
		return attentionAt(device.AttentionAt(k), true), k.HeadDim <= 256
	}
	return code{}, false
}

// headShape describes what the entries of one size of heads are made for.
type headShape struct {
	suffix           string
	queries, threads int // queries and threads of a block of the forward pass
	rows             int // queries and keys of a tile of the backward pass; it has four threads for each
}

func headShapeOf(headDim int) headShape {
	switch {
	case headDim <= 64:
		return headShape{suffix: "_64", queries: 64, threads: 128, rows: 64}
	case headDim <= 128:
		return headShape{suffix: "_128", queries: 64, threads: 128, rows: 32}
	}
	return headShape{suffix: "_256", queries: 32, threads: 64, rows: 16}
}

// matrices returns the parameters for q, k and v (or for their gradients), the first of them argument first, and
// for starts. Packed matrices are one argument; what is not there is nil, a null pointer.
func matrices(k device.Attention, first int) (list []any, starts any) {
	if !k.Packed {
		return []any{arg(first), arg(first + 1), arg(first + 2)}, nil
	}
	if k.Rows > 0 {
		starts = arg(1)
	}
	return []any{arg(first), nil, nil}, starts
}

// inputs returns the number of arguments before dout or out.
func inputs(k device.Attention) int {
	switch {
	case !k.Packed:
		return 3
	case k.Rows > 0:
		return 2
	}
	return 1
}

func attention(k device.Attention) code {
	s := headShapeOf(k.HeadDim)
	qkv, starts := matrices(k, 0)
	out := arg(inputs(k))
	real := launch{
		entry:  "attention" + s.suffix,
		grid:   dim{x: k.B * k.Heads, y: ceil(k.Tq, s.queries)},
		block:  dim{x: s.threads},
		params: append(qkv, starts, out, k.Tq, k.Tk, k.Heads, k.HeadDim, bit(k.Causal), isHalf(out)),
	}
	half := real
	half.entry = "half_" + real.entry
	c := eitherType{packed: k.Packed, half: []launch{half}, real: []launch{real}, read: reals(k, 0), takes: []arg{out}}.code()
	return clearTail(c, k, out, k.Heads*k.HeadDim, isHalf(out))
}

// reals returns the arguments that matrices returns.
func reals(k device.Attention, first arg) []arg {
	if k.Packed {
		return []arg{first}
	}
	return []arg{first, first + 1, first + 2}
}

// clearTail adds the launch that clears the rows after the last sequence where lengths differ.
func clearTail(c code, k device.Attention, rows arg, width int, half any) code {
	if k.Rows > 0 {
		c.launches = append(c.launches, launch{entry: "clear_tail", grid: dim{x: 256}, block: dim{x: 256},
			params: []any{rows, arg(1), k.B, k.Rows, width, half}})
	}
	return c
}

// attentionBack computes the statistics of all queries first where a head's keys are more than one tile. Where dq is bfloat16, it is
// summed in float32 beside them then.
func attentionBack(k device.Attention) code {
	s := headShapeOf(k.HeadDim)
	qkv, starts := matrices(k, 0)
	dout := arg(inputs(k))
	grads, _ := matrices(k, int(dout)+1)
	sizes := []any{k.Tq, k.Tk, k.Heads, k.HeadDim, bit(k.Causal)}
	both := func(prefix string) (list []launch, room scratch) {
		entry, rows := prefix+"attention_back"+s.suffix, s.rows
		var stats, sums any
		switch longest := max(k.Tq, k.Tk); {
		case k.HeadDim <= 64 && longest <= 64:
			entry += "_short"
		case k.HeadDim <= 64 && longest <= 80:
			entry, rows = entry+"_text", 80
		case k.Tk > rows:
			stats = room.take(3 * k.B * k.Heads * k.Tq * 4)
			if prefix != "" {
				sums = room.take(4 * max(k.Rows, k.B*k.Tq) * k.Heads * k.HeadDim)
			}
			list = append(list, launch{
				entry:  prefix + "attention_stats" + s.suffix,
				grid:   dim{x: k.B * k.Heads, y: ceil(k.Tq, rows)},
				block:  dim{x: 4 * rows},
				params: join(qkv, []any{starts, dout, stats}, sizes),
			})
		}
		return append(list, launch{
			entry:  entry,
			grid:   dim{x: k.B * k.Heads},
			block:  dim{x: 4 * rows},
			params: join(qkv, []any{starts, dout, stats, sums}, grads, sizes),
		}), room
	}
	e := eitherType{packed: k.Packed, read: append(reals(k, 0), dout), written: reals(k, dout+1)}
	e.real, e.realRoom = both("")
	e.half, e.halfRoom = both("half_")
	return clearTail(e.code(), k, dout+1, 3*k.Heads*k.HeadDim, isHalf(dout+1))
}

func join(parts ...[]any) (all []any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// attentionAt has a block of 128 threads for each head of each sequence.
func attentionAt(k device.AttentionAt, back bool) code {
	s := headShapeOf(k.HeadDim)
	var starts any
	rows := arg(1)
	if k.Rows > 0 {
		starts, rows = arg(1), arg(2)
	}
	grid, block := dim{x: k.B * k.Heads}, dim{x: 128}
	params := []any{arg(0), starts, rows, rows + 1}
	sizes := []any{k.T, k.Heads, k.HeadDim, bit(k.Causal)}
	if !back {
		return code{launches: []launch{{entry: "attention_at" + s.suffix, grid: grid, block: block,
			params: join(params, sizes, []any{isHalf(0), isHalf(rows + 1)})}}}
	}
	c := code{launches: []launch{{entry: "attention_at_back" + s.suffix, grid: grid, block: block,
		params: join(params, []any{rows + 2}, sizes, []any{isHalf(0), isHalf(rows + 1), isHalf(rows + 2)})}}}
	return clearTail(c, device.Attention{B: k.B, Rows: k.Rows}, rows+2, 3*k.Heads*k.HeadDim, isHalf(rows+2))
}
