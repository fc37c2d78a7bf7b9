package clip

// The capabilities that Descriptor.Capabilities may list.
const (
	// CapVocabulary marks a text encoder that trains its tokenizer on EncoderConfig.Captions.
	CapVocabulary = "vocabulary"
	// CapFreeze marks an encoder that obeys EncoderConfig.Freeze. Every encoder of core/engine/tower does.
	CapFreeze = "freeze"
	// CapPrefetch marks an encoder that makes use of ForwardRequest.Next.
	CapPrefetch = "prefetch"
	// CapGroups marks an encoder that obeys Optimizer.Groups and Optimizer.LayerDecay.
	CapGroups = "groups"
	// CapEMA marks an encoder that obeys Optimizer.EMADecay and ForwardRequest.EMA.
	CapEMA = "ema"
	// CapStart marks an encoder that obeys ParamGroup.Start.
	CapStart = "start"
	// CapLoRA marks an encoder that obeys EncoderConfig.LoRA.
	CapLoRA = "lora"
	// CapONNX marks an encoder that is an Exporter for FormatONNX.
	CapONNX = "onnx"
	// CapPretrained marks an encoder whose settings of type path name a published model that it begins with: their content
	// counts in the identity of a run, not the path.
	CapPretrained = "pretrained"
	// CapNegatives marks a dataset that obeys BatchRequest.Negatives.
	CapNegatives = "negatives"
	// CapView2 marks a dataset that obeys BatchRequest.View2.
	CapView2 = "view2"
	// CapAugment marks a dataset that obeys all of Augment. Without it only crop and flip may be asked for.
	CapAugment = "augment"
	// CapCache marks a dataset that obeys DatasetConfig.Cache.
	CapCache = "cache"
	// CapBuckets marks an encoder or a loss that is Bucketed, so that several ranks can train it together.
	CapBuckets = "buckets"
	// CapRows marks a loss that obeys LossRequest.Rows.
	CapRows = "rows"
	// CapExchange marks an encoder that is an Exchanger: its forward and backward pass may need sums over all ranks.
	CapExchange = "exchange"
	// CapNCCL marks an encoder that reduces gradients on its GPU by itself (Compute.Communicator).
	CapNCCL = "nccl"
)

// OutputTokens names the output of a TokenEncoder in Descriptor.Outputs.
const OutputTokens = "tokens"

// Descriptor describes a plugin before it is configured. `make plugins` and the first use of a foreign
// plugin store it as JSON, so that a spec can be checked without starting a process.
type Descriptor struct {
	Kind         Kind       `json:"kind"`
	Name         string     `json:"name"`    // the last path element: vit
	Version      string     `json:"version"` // of the plugin
	Protocol     int        `json:"protocol"`
	Modality     Modality   `json:"modality,omitempty"` // encoders only
	Summary      string     `json:"summary"`            // one line
	Capabilities []string   `json:"capabilities,omitempty"`
	Inputs       []string   `json:"inputs,omitempty"`  // of a loss, beside image and text: InputGroups, …
	Outputs      []string   `json:"outputs,omitempty"` // of an encoder, beside the embedding: OutputTokens
	Schema       []Field    `json:"schema"`
	Relations    []Relation `json:"relations,omitempty"`
	Sizes        []Size     `json:"sizes,omitempty"`
	// Files and Versions tell what a script depends on beside its own file. Files are globs of files in its
	// folder (none means all code there); Versions are the versions of what runs it, such as the interpreter
	// and its libraries. A change of either makes it another plugin.
	Files    []string          `json:"files,omitempty"`
	Versions map[string]string `json:"versions,omitempty"`
}

// FieldType names the type of a field of a with block.
type FieldType string

// The types of fields.
const (
	TypeInt    FieldType = "int"
	TypeFloat  FieldType = "float"
	TypeBool   FieldType = "bool"
	TypeString FieldType = "string"
	TypePath   FieldType = "path" // a file or folder that must exist; relative to the spec file
	// TypeSource names data: a file or folder, relative to the spec file, a glob or brace range of files, or an address
	// (https://, s3://). The dataset finds out what is there.
	TypeSource FieldType = "source"
	TypeList   FieldType = "list" // of elements of type Field.Elem
	TypeMap    FieldType = "map"  // from strings to values of type Field.Elem
)

// Field describes one key of a with block.
type Field struct {
	Name    string    `json:"name"`
	Type    FieldType `json:"type"`
	Elem    FieldType `json:"elem,omitempty"`
	Default any       `json:"default,omitempty"` // nil: the zero value of Type
	// Required fields must be given.
	Required bool     `json:"required,omitempty"`
	Enum     []string `json:"enum,omitempty"` // the values allowed; none: any
	Min      *float64 `json:"min,omitempty"`  // inclusive; holds for the elements of a list too
	Max      *float64 `json:"max,omitempty"`  // inclusive; holds for the elements of a list too
	Len      int      `json:"len,omitempty"`  // exact length of a list; 0: any
	Help     string   `json:"help"`
}

// Relation states a rule for two int fields: Field must be a multiple of Of. A field that the with block
// leaves out has its default. The rule holds when either is 0.
type Relation struct {
	Rule  string `json:"rule"` // multiple_of
	Field string `json:"field"`
	Of    string `json:"of"`
}

// Size gives the number of samples of a dataset whose with block, defaults filled in, has all the values
// of When. The first Size that matches counts; when none does, only opening the dataset tells.
type Size struct {
	When map[string]any `json:"when"`
	N    int            `json:"n"`
}
