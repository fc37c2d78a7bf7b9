package preset

// Cost holds what a model takes.
type Cost struct {
	ImageParameters, TextParameters int64 // without the objective's one or two scalars
	ImageFLOPs, TextFLOPs           float64
}

// Cost counts the parameters of both towers, and the floating-point operations of embedding one picture and one text of the
// full context: matrix products, convolutions and attention of all tokens in all blocks, a multiply-add counted as 2. Nothing
// is allocated.
func (m Model) Cost() (c Cost) {
	t := m.Text
	text := counter{}
	text.parameters = int64(t.Vocab+t.Context) * int64(t.Width)
	text.blocks(t.Layers, t.Width, t.hidden(), t.Context)
	text.norm(t.Width)
	text.product(t.Width, m.EmbedDim, 1, m.siglip())
	image := m.resnet()
	if m.Image.PatchSize > 0 {
		image = m.vit()
	}
	return Cost{image.parameters, text.parameters, image.flops, text.flops}
}

func (t Text) hidden() int  { return int(float64(t.Width) * t.MLPRatio) }
func (v Image) hidden() int { return int(float64(v.Width) * v.MLPRatio) }

// counter adds up layers.
type counter struct {
	parameters int64
	flops      float64
}

// product counts a linear layer for so many rows.
func (c *counter) product(in, out, rows int, bias bool) {
	c.parameters += int64(in) * int64(out)
	c.flops += 2 * float64(in) * float64(out) * float64(rows)
	if bias {
		c.parameters += int64(out)
	}
}

// norm counts a gain and a shift.
func (c *counter) norm(width int) { c.parameters += 2 * int64(width) }

// attention counts q·kᵀ and its product with v.
func (c *counter) attention(queries, keys, width int) {
	c.flops += 4 * float64(queries) * float64(keys) * float64(width)
}

// blocks counts pre-norm residual attention blocks on so many tokens.
func (c *counter) blocks(n, width, hidden, tokens int) {
	for range n {
		c.norm(width)
		c.product(width, 3*width, tokens, true)
		c.attention(tokens, tokens, width)
		c.product(width, width, tokens, true)
		c.mlp(width, hidden, tokens)
	}
}

// mlp counts a norm and two layers.
func (c *counter) mlp(width, hidden, tokens int) {
	c.norm(width)
	c.product(width, hidden, tokens, true)
	c.product(hidden, width, tokens, true)
}

// vit counts a Vision Transformer, SigLIP's or CLIP's.
func (m Model) vit() (c counter) {
	v := m.Image
	patches, w := (v.Size/v.PatchSize)*(v.Size/v.PatchSize), v.Width
	tokens := patches
	if !m.siglip() {
		tokens++
		c.parameters += int64(w) // the class token
		c.norm(w)                // ln_pre
	}
	c.product(3*v.PatchSize*v.PatchSize, w, patches, m.siglip())
	c.parameters += int64(tokens) * int64(w) // positions
	c.blocks(v.Layers, w, v.hidden(), tokens)
	c.norm(w)
	if !m.siglip() {
		c.product(w, m.EmbedDim, 1, false)
		return c
	}
	c.parameters += int64(w) // the pool's query
	c.product(w, w, 1, true)
	c.product(w, 2*w, tokens, true)
	c.attention(1, tokens, w)
	c.product(w, w, 1, true)
	c.mlp(w, v.hidden(), 1)
	return c
}

// convolution counts one without a bias, whose output has so many positions, and the batch norm after it.
func (c *counter) convolution(in, out, size, positions int) {
	c.product(in*size*size, out, positions, false)
	c.norm(out)
}

// resnet counts CLIP's modified ResNet (Radford et al. 2021, §2.4).
func (m Model) resnet() (c counter) {
	v := m.Image
	area := func(stride int) int { return (v.Size / stride) * (v.Size / stride) }
	c.convolution(3, v.Width/2, 3, area(2))
	c.convolution(v.Width/2, v.Width/2, 3, area(2))
	c.convolution(v.Width/2, v.Width, 3, area(2))
	in := v.Width
	for stage, blocks := range v.Stages {
		width, before, after := v.Width<<stage, area(4<<stage), area(4<<stage)
		if stage > 0 {
			before = area(2 << stage) // its first block pools after its 3×3 convolution
		}
		for range blocks {
			c.convolution(in, width, 1, before)
			c.convolution(width, width, 3, before)
			c.convolution(width, 4*width, 1, after)
			if in != 4*width {
				c.convolution(in, 4*width, 1, after)
			}
			in, before = 4*width, after
		}
	}
	tokens := area(32) + 1
	c.parameters += int64(tokens) * int64(in) // positions
	c.product(in, in, 1, true)                // query
	c.product(in, in, tokens, true)
	c.product(in, in, tokens, true)
	c.attention(1, tokens, in)
	c.product(in, m.EmbedDim, 1, true)
	return c
}
