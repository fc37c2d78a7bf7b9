package device

// describeMaps covers kernels over pictures and feature maps.
func (s *signature) describeMaps(kernel Kernel) {
	switch k := kernel.(type) {
	case Patchify:
		if s.positive(k.B, k.H, k.W, k.C, k.P) {
			s.require(k.H%k.P == 0 && k.W%k.P == 0, "patch %d does not divide %dx%d", k.P, k.H, k.W)
		}
		s.map1(k.B * k.H * k.W * k.C)
	case ConvForward:
		x, w, y := s.conv(k.Conv2D)
		s.in("x", x)
		s.in("w", w)
		s.out("y", y)
	case ConvBackData:
		x, w, y := s.conv(k.Conv2D)
		s.in("w", w)
		s.in("dy", y)
		s.out("dx", x)
	case ConvBackWeights:
		x, w, y := s.conv(k.Conv2D)
		s.in("x", x)
		s.in("dy", y)
		s.out("dw", w)
	case AvgPool:
		s.require(k.Pad == 0, "average pooling has no padding")
		x, y := s.pool(k.Pool2D)
		s.in("x", x)
		s.out("y", y)
	case AvgPoolBack:
		s.require(k.Pad == 0, "average pooling has no padding")
		x, y := s.pool(k.Pool2D)
		s.in("dy", y)
		s.out("dx", x)
	case MaxPool:
		x, y := s.pool(k.Pool2D)
		s.in("x", x)
		s.out("y", y)
	case MaxPoolBack:
		x, y := s.pool(k.Pool2D)
		s.in("x", x)
		s.in("dy", y)
		s.out("dx", x)
	case BatchStats:
		s.positive(k.Rows, k.C)
		s.in("x", k.Rows*k.C)
		s.out("stats", 2*k.C)
	case BatchNorm:
		s.positive(k.Rows, k.C)
		s.require(k.Act == Identity || k.Act == ReLU, "activation must be identity or ReLU")
		s.in("x", k.Rows*k.C)
		s.in("stats", 2*k.C)
		s.in("gamma", k.C)
		s.in("beta", k.C)
		s.out("y", k.Rows*k.C)
	case BatchNormBack:
		s.positive(k.Rows, k.C)
		s.require(k.Act == Identity || k.Act == ReLU, "activation must be identity or ReLU")
		s.in("x", k.Rows*k.C)
		s.in("stats", 2*k.C)
		s.in("gamma", k.C)
		s.optional("y", k.Rows*k.C, Real, k.Act == ReLU)
		s.in("dy", k.Rows*k.C)
		s.out("dx", k.Rows*k.C)
		s.out("dgamma", k.C)
		s.out("dbeta", k.C)
	case RunningStats:
		s.positive(k.Rows, k.C)
		s.in("stats", 2*k.C)
		s.out("mean", k.C)
		s.out("variance", k.C)
	default:
		s.fail("%T is not a known kernel", kernel)
	}
}

func (s *signature) conv(c Conv2D) (x, w, y int) {
	if !s.positive(c.B, c.H, c.W, c.InC) || !s.positive(c.OutC, c.InC, c.KH, c.KW) || !s.positive(c.Stride) {
		return
	}
	s.require(c.Pad >= 0 && c.H+2*c.Pad >= c.KH && c.W+2*c.Pad >= c.KW, "the window is larger than the padded map")
	oh, ow := c.OutSize()
	return c.B * c.H * c.W * c.InC, c.OutC * c.InC * c.KH * c.KW, c.B * oh * ow * c.OutC
}

func (s *signature) pool(p Pool2D) (x, y int) {
	if !s.positive(p.B, p.H, p.W, p.C) || !s.positive(p.Size, p.Stride) {
		return
	}
	s.require(p.Pad >= 0 && 2*p.Pad <= p.Size, "padding %d is more than half the window", p.Pad)
	s.require(p.H+2*p.Pad >= p.Size && p.W+2*p.Pad >= p.Size, "the window is larger than the padded map")
	oh, ow := p.OutSize()
	return p.B * p.H * p.W * p.C, p.B * oh * ow * p.C
}
