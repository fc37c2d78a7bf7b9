package sample

import (
	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	edit "tandem/core/media/vision/augment"
)

// checkAugment reports a training transform that cannot be made.
func checkAugment(a *clip.Augment) error {
	if a == nil {
		return nil
	}
	bad := func(path, format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, format, args...).WithPath("augment." + path)
	}
	switch a.Name {
	case "none":
	case "random_resized_crop":
		if !(a.Scale[0] > 0 && a.Scale[0] <= a.Scale[1] && a.Scale[1] <= 1) {
			return bad("scale", "%v, want 0 < low ≤ high ≤ 1", a.Scale)
		}
		if !(a.Ratio[0] > 0 && a.Ratio[0] <= a.Ratio[1]) {
			return bad("ratio", "%v, want 0 < low ≤ high", a.Ratio)
		}
	default:
		return bad("name", "%q is not an augmentation", a.Name).WithHint("none or random_resized_crop")
	}
	for _, p := range []struct {
		path  string
		value float64
	}{{"hflip", a.HFlip}, {"color_jitter_prob", a.ColorJitterProb}, {"grayscale", a.Grayscale}, {"blur", a.Blur}} {
		if !(p.value >= 0 && p.value <= 1) {
			return bad(p.path, "%v, want a probability", p.value)
		}
	}
	for i, v := range a.ColorJitter {
		if most := []float64{100, 100, 100, .5}[i]; !(v >= 0 && v <= most) {
			return bad("color_jitter", "%v, want brightness, contrast, saturation of 0 to 100 and hue of 0 to 0.5", a.ColorJitter)
		}
	}
	if a.Blur > 0 && !(a.BlurSigma[0] > 0 && a.BlurSigma[0] <= a.BlurSigma[1] && a.BlurSigma[1] <= 100) {
		return bad("blur_sigma", "%v, want 0 < low ≤ high ≤ 100", a.BlurSigma)
	}
	if a.RandAugmentOps < 0 || a.RandAugmentOps > 100 {
		return bad("randaugment_ops", "%d, want 0 to 100", a.RandAugmentOps)
	}
	if a.RandAugmentMagnitude < 0 || a.RandAugmentMagnitude > 30 {
		return bad("randaugment_magnitude", "%d, want 0 to 30", a.RandAugmentMagnitude)
	}
	return nil
}

// cropParams returns the crop of a training configuration; nil for the evaluation transform.
func cropParams(a *clip.Augment) *vision.CropParams {
	if a == nil || a.Name != "random_resized_crop" {
		return nil
	}
	return &vision.CropParams{Scale: a.Scale, Ratio: a.Ratio}
}

// edits returns what follows the crop of a training configuration.
func edits(a *clip.Augment) edit.Config {
	if a == nil {
		return edit.Config{}
	}
	return edit.Config{Ops: a.RandAugmentOps, Magnitude: a.RandAugmentMagnitude, Jitter: a.ColorJitter, JitterProb: a.ColorJitterProb,
		Grayscale: a.Grayscale, Blur: a.Blur, Sigma: a.BlurSigma}
}
