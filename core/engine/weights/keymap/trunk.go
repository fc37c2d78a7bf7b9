package keymap

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// trunkName takes apart timm's names of SigLIP's image towers: size, patch, side of the pictures.
var trunkName = regexp.MustCompile(`^vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)$`)

// trunkSizes gives width, layers, heads and the MLP's ratio of SigLIP's image towers in timm.
var trunkSizes = map[string]struct {
	width, layers, heads int
	ratio                float64
}{
	"base": {768, 12, 12, 4}, "large": {1024, 24, 16, 4}, "so400m": {1152, 27, 16, 3.7362}, "giantopt": {1536, 40, 16, 4},
}

// tanhTrunks lists those of the trunks whose GELU is approximated by tanh. That of the others is exact, also where SigLIP 2
// was trained with the approximation.
var tanhTrunks = []string{"vit_base_patch32_siglip_256", "vit_large_patch16_siglip_512", "vit_so400m_patch16_siglip_256",
	"vit_so400m_patch16_siglip_384", "vit_so400m_patch16_siglip_512", "vit_giantopt_patch16_siglip_256", "vit_giantopt_patch16_siglip_384"}

// exactTrunks lists the others.
var exactTrunks = []string{"vit_base_patch16_siglip_224", "vit_base_patch16_siglip_256", "vit_base_patch16_siglip_384", "vit_base_patch16_siglip_512",
	"vit_large_patch16_siglip_256", "vit_large_patch16_siglip_384", "vit_so400m_patch14_siglip_224", "vit_so400m_patch14_siglip_378"}

// siglipEps is the eps of SigLIP's layer norms.
const siglipEps = 1e-6

// ofTrunk returns the settings of vit for a tower of timm; false when it is none of SigLIP's.
func ofTrunk(name string) (image, bool) {
	m := trunkName.FindStringSubmatch(name)
	if m == nil {
		return image{}, false
	}
	size := trunkSizes[m[1]]
	v := image{Width: size.width, Layers: []byte(strconv.Itoa(size.layers)), Heads: size.heads, MLPRatio: size.ratio, Act: "gelu", PoolType: "map",
		NoClassToken: true, NoLnPre: true, NoProj: true, PatchBias: true, NormEps: siglipEps}
	v.PatchSize, _ = strconv.Atoi(m[2])
	v.ImageSize, _ = strconv.Atoi(m[3])
	if slices.Contains(tanhTrunks, name) {
		v.Act = "gelu_tanh"
	}
	return v, true
}

// trunk returns timm's name of an image tower; "" when there is none.
func (v image) trunk() string {
	for _, name := range slices.Concat(exactTrunks, tanhTrunks) {
		if t, _ := ofTrunk(name); fmt.Sprint(t) == fmt.Sprint(v.plain()) {
			return name
		}
	}
	return ""
}

// plain returns the settings in the form that ofTrunk gives them.
func (v image) plain() image {
	v.Heads, v.HeadWidth, v.MLPRatio = v.heads(), 0, math.Round(v.MLPRatio*1e9)/1e9
	return v
}
