package device

func (s *signature) attention(k Attention, back bool) {
	s.positive(k.B, k.Tq, k.Heads, k.HeadDim)
	s.positive(k.B, k.Tk, k.Heads, k.HeadDim)
	s.require(k.Tq == k.Tk || !(k.Packed || k.Causal), "packed and causal attention need Tq = Tk")
	w := k.Heads * k.HeadDim
	nq, nk := k.B*k.Tq*w, k.B*k.Tk*w
	s.require(k.Rows == 0 || k.Packed && k.Rows >= 1, "%d rows, which need packed attention", k.Rows)
	if k.Rows > 0 {
		nq = k.Rows * w
	}
	switch {
	case k.Packed && back:
		s.in("qkv", 3*nq)
		s.starts(k.B, k.Rows)
		s.in("dout", nq)
		s.out("dqkv", 3*nq)
	case k.Packed:
		s.in("qkv", 3*nq)
		s.starts(k.B, k.Rows)
		s.out("out", nq)
	default:
		s.in("q", nq)
		s.in("k", nk)
		s.in("v", nk)
		if !back {
			s.out("out", nq)
			return
		}
		s.in("dout", nq)
		s.out("dq", nq)
		s.out("dk", nk)
		s.out("dv", nk)
	}
}

func (s *signature) attentionAt(k AttentionAt, back bool) {
	s.positive(k.B, 3*k.T, k.Heads, k.HeadDim)
	s.require(k.Rows >= 0, "%d rows", k.Rows)
	w, rows := k.Heads*k.HeadDim, k.B*k.T
	if k.Rows > 0 {
		rows = k.Rows
	}
	s.in("qkv", 3*rows*w)
	s.starts(k.B, k.Rows)
	s.ids("rows", k.B)
	if back {
		s.in("dout", k.B*w)
		s.out("dqkv", 3*rows*w)
	} else {
		s.out("out", k.B*w)
	}
}

// starts is the argument of sequences of different lengths.
func (s *signature) starts(batch, rows int) {
	if rows > 0 {
		s.ids("starts", batch+1)
	}
}
