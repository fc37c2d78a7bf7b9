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
}

// DatasetConfig configures a dataset.
type DatasetConfig struct {
	With      json.RawMessage // the with block of the spec: a JSON object that passed the schema
	ImageSize int             // S, the side in pixels of the square pictures to deliver; at least 1
	Seed      uint64
	Augment   *Augment
	Threads   int    // most pictures decoded at a time; at least 1
	CacheDir  string // a folder for the dataset to write to, shared by all runs; "" for none
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
}

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
}

// SampleFault reports a sample that could not be read.
type SampleFault struct {
	Index int    // in the dataset
	Key   string // as in Batch.Keys
	Msg   string
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
