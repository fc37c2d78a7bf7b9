package device

// AdamW takes one step of Loshchilov & Hutter 2019 on a flat range. g is scaled by gradScale first.
// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − lr·(decay·p + m̂/(√v̂ + ε)), m̂ = m/(1−β₁ᵗ).
// Args: g → p, m, v (all [N], updated in place). Scalars: lr, decay, gradScale, step (from 1).
type AdamW struct {
	N                 int
	Beta1, Beta2, Eps float64
}

func (k AdamW) describe(d *describer) { d.update(k.N, "m", "v") }

// SGD computes v ← Momentum·v + g + decay·p; p ← p − lr·v. Args: g → p, v. Scalars: lr, decay, gradScale.
type SGD struct {
	N        int
	Momentum float64
}

func (k SGD) describe(d *describer) { d.update(k.N, "v") }

// Lion takes one step of Chen et al. 2023: u = sign(β₁m + (1−β₁)g); p ← p − lr·(u + decay·p);
// m ← β₂m + (1−β₂)g. Args: g → p, m. Scalars: lr, decay, gradScale.
type Lion struct {
	N            int
	Beta1, Beta2 float64
}

func (k Lion) describe(d *describer) { d.update(k.N, "m") }

// Average moves a running average towards x: avg ← avg + weight·(x − avg). Args: x → avg (both [N], avg updated in
// place). Scalars: weight.
type Average struct{ N int }

func (k Average) describe(d *describer) {
	d.sizes(k.N)
	d.in("x", k.N)
	d.out("avg", k.N)
}

// update describes a step of an optimiser with these moments.
func (d *describer) update(n int, moments ...string) {
	d.sizes(n)
	d.in("g", n)
	d.out("p", n)
	for _, name := range moments {
		d.out(name, n)
	}
}
