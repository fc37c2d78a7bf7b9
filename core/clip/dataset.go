package clip

import (
	"context"
	"encoding/json"

	"tandem/core/tensor"
)

// Augment configures the image transform of training. Without it (nil) training uses the transform of
// evaluation: resize the shorter side, then crop the centre.
type Augment struct {
	// Name selects the transform: none or random_resized_crop.
	Name string `json:"name"`
	// Scale bounds the area of the random crop, as a fraction of the picture's area.
	Scale [2]float64 `json:"scale"`
	// Ratio bounds the aspect ratio of the random crop: width over height.
	Ratio [2]float64 `json:"ratio"`
	// HFlip gives the probability of a horizontal flip.
	HFlip float64 `json:"hflip"`

	// The fields below are for datasets with CapAugment alone. They apply to the picture after crop and flip:
	// RandAugment, colour jitter, grey, blur, in this order.

	// ColorJitter bounds the random changes of brightness, contrast, saturation and hue (torchvision's ColorJitter);
	// ColorJitterProb is the probability that they are made.
	ColorJitter     [4]float64 `json:"color_jitter,omitzero"`
	ColorJitterProb float64    `json:"color_jitter_prob,omitzero"`
	// Grayscale gives the probability that the picture becomes grey.
	Grayscale float64 `json:"grayscale,omitzero"`
	// Blur gives the probability of a Gaussian blur, and BlurSigma bounds its standard deviation in pixels.
	Blur      float64    `json:"blur,omitzero"`
	BlurSigma [2]float64 `json:"blur_sigma,omitzero"`
	// RandAugmentOps is the number of operations of RandAugment (Cubuk et al. 2019), 0 for none, and
	// RandAugmentMagnitude their magnitude, 0 … 30.
	RandAugmentOps       int `json:"randaugment_ops,omitzero"`
	RandAugmentMagnitude int `json:"randaugment_magnitude,omitzero"`
}

// NeedsCapability reports whether a asks for more than a crop and a flip, which takes CapAugment.
func (a *Augment) NeedsCapability() bool {
	if a == nil {
		return false
	}
	plain := Augment{Name: a.Name, Scale: a.Scale, Ratio: a.Ratio, HFlip: a.HFlip}
	return *a != plain
}

// PictureCache asks a dataset with CapCache to keep decoded and resized pictures in files of DatasetConfig.CacheDir.
type PictureCache struct {
	Format   string `json:"format"` // jpeg or raw
	MaxBytes int64  `json:"max_bytes"`
}

// DatasetConfig configures a dataset.
type DatasetConfig struct {
	With      json.RawMessage // the with block of the spec: a JSON object that passed the schema
	ImageSize int             // S, the side in pixels of the square pictures to deliver; at least 1
	Seed      uint64
	Augment   *Augment
	Threads   int    // most pictures decoded at a time; at least 1
	CacheDir  string // a folder for the dataset to write to, shared by all runs; "" for none
	// Cache is nil where no pictures are to be kept.
	Cache *PictureCache `json:",omitzero"`
}

// Target labels the samples with classes, for zero-shot classification.
type Target struct {
	Name    string
	Classes []string // for each class id, the text that fills a prompt template
}

// DatasetInfo describes a configured dataset.
type DatasetInfo struct {
	Len     int // number of samples; their indices are 0 … Len-1, in the order of the file
	Targets []Target
	Digest  string // hex sha256 that changes when the samples do
	Skipped int    // number of records that were refused while opening
	Note    string // for people: source and licence, on one line
	// Remarks tells people what they should know of the data, a sentence each: classes that become one,
	// labels that contradict each other.
	Remarks []string
	// Fixed promises that the picture of a sample in training is the same for every epoch and seed: nothing
	// is cropped, flipped or altered at random. Captions may change nevertheless.
	Fixed bool
	// Negatives is K, the number of texts that a sample has as negatives (CapNegatives); 0 when it has none.
	Negatives int
	// Shards holds the numbers of samples that lie together and are read together, in the order of the indices: the
	// first shard has the samples 0 … Shards[0]-1. They add up to Len. nil means that it does not matter in what
	// order samples are read.
	Shards []int
	// Skips tells what Skipped is made of. Its counts add up to Skipped, or it is nil.
	Skips []Skip
}

// Skip counts the records that were refused for one reason.
type Skip struct {
	Reason string // a few words that are the same for all of them: "no caption", "truncated picture" (fault.Error.Reason)
	Count  int
	First  string // the first of them: where it is and what is wrong with it
}

// Reasons of errors that say nothing against a sample. It is not skipped for them: the batch ends, and the run with it.
const (
	ReasonStore   = "store unavailable" // a store that keeps the sample does not give it
	ReasonChanged = "data changed"      // it is no longer what was opened
)

// BatchRequest asks for samples. Their content is a pure function of configuration, Epoch and index.
type BatchRequest struct {
	Indices []int
	Epoch   int // from 0; selects the augmentation and the choice among captions
	// Train asks for augmented pictures and one caption a sample, chosen at random. Otherwise the pictures
	// get the transform of evaluation, and Batch.All holds every caption.
	Train bool
	// Into, when not nil, is u8 [B, S, S, 3], B = len(Indices). The dataset writes the pictures there.
	Into *tensor.Tensor
	// NoImages says that the caller does not need the pictures. The dataset need not read them, and
	// Batch.Images may be nil. Pictures that cannot be read are then not found, so there are no Faults.
	NoImages bool
	// Negatives asks for Batch.Negatives, of a dataset with CapNegatives.
	Negatives bool
	// View2 asks for Batch.Images2, of a dataset with CapView2, in training. Into2, when not nil, does for it what
	// Into does for Images.
	View2 bool
	Into2 *tensor.Tensor
	// Sizes asks for Batch.Sizes, which only some datasets know.
	Sizes bool
}

// SampleFault reports a sample that could not be read.
type SampleFault struct {
	Index int    // in the dataset
	Key   string // as in Batch.Keys
	Msg   string
	// Reason is as in Skip; "" where it is unknown.
	Reason string
}

// Batch holds B = len(Indices) samples in the order of the request.
//
// Faults reports the samples that cannot be read, unless the dataset is configured to fail at them. The
// caller does not use what stands in their places (such as a black picture with the sample's caption).
// When no sample can be read for the moment, Dataset.Batch returns an error instead.
type Batch struct {
	Images   *tensor.Tensor     // u8 [B, S, S, 3], RGB; the request's Into when that is set; nil after NoImages
	Captions []string           // one a sample
	All      [][]string         // every caption of each sample; nil when the request has Train
	Keys     []string           // stable names of the samples: "1f600/google"
	Groups   []int64            // in retrieval, samples of one group are positives of one another
	Labels   map[string][]int32 // by target name: the class id of each sample; -1 for none
	Faults   []SampleFault
	// Negatives holds, for each sample, exactly DatasetInfo.Negatives texts that do not describe it.
	Negatives [][]string
	// Sizes holds width and height of each picture before it was cropped and scaled, in pixels; 0 where they are unknown. It is
	// nil when all are, and when nobody asked.
	Sizes [][2]int
	// Images2 holds u8 [B, S, S, 3]: each sample's picture, augmented by random numbers of their own, so that Images
	// is the same with and without it.
	Images2 *tensor.Tensor
}

// Dataset delivers image–text pairs.
type Dataset interface {
	// Configure opens the dataset and returns its description. A configuration that does not fit yields
	// fault.Invalid, data that is not there fault.NotFound.
	Configure(context.Context, DatasetConfig) (DatasetInfo, error)
	// Batch returns the samples of a request. Several goroutines may call it at once. An index outside
	// 0 … Len-1 yields fault.Invalid.
	Batch(context.Context, BatchRequest) (*Batch, error)
	// Captions returns the captions of the samples, each distinct text once, in an order that does not
	// change. limit bounds their number; 0 means all.
	Captions(ctx context.Context, limit int) ([]string, error)
	// Close frees everything that the dataset holds.
	Close() error
}
