package metric

import "testing"

func TestDirectionsAreDeclaredNotGuessed(t *testing.T) {
	for name, want := range map[string]Direction{
		"train/loss": Down, "train/loss/image_to_text": Down, "train/val_loss": Down, "eval/e/image_to_text_median_rank": Down, "train/data_wait_ms": Down,
		"eval/e/nll": Down, "eval/e/ECE": Down, "eval/e/errors": Down, "eval/e/fpr95": Down, "eval/e/latency": Down, "eval/e/error": Down,
		"eval/e/perplexity": Down, "eval/e/top-1_error": Down,
		"eval/e/top1": Up, "eval/e/mean_per_class_recall": Up, "eval/e/image_to_text_R@10": Up, "train/samples_per_s": Up, "eval/lossless/top1": Up,
		"eval/e/auroc": Up, "eval/e/image_to_text_mAP@10": Up, "eval/e/image_to_text_R-precision": Up, "eval/e/image_to_text_MRR": Up,
		"eval/e/linear_probe_top1": Up, "eval/e/choices_accuracy": Up, "eval/e/calibration_adaptive_ece": Down, "eval/e/robust_drop": Down,
		"eval/e/few_shot_4_top1_std": None, "eval/e/choices_chance": None, "eval/e/linear_probe_C": None, "eval/e/calibration_temperature": None,
		"train/lr": None, "train/grad_norm": None, "train/grad_norm/loss": None, "train/logit_scale": None, "eval/e/distance": None, "train/lossless": None,
		"train/samples_replaced_share": None, "x": None, "": None, "eval/e/": None, "eval/e/crank": None, "eval/e/terror": None,
	} {
		if got := DirectionOf(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if d, known := ParseDirection("sideways"); known || d != None {
		t.Errorf("sideways is %d", d)
	}
}
