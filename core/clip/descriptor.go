package clip

// Capabilities of a plugin, in Descriptor.Capabilities.
const (
	// CapVocabulary: a text encoder that wants EncoderConfig.Captions.
	CapVocabulary = "vocabulary"
	// CapFreeze: an encoder that obeys EncoderConfig.Freeze. All made with core/engine/tower do.
	CapFreeze = "freeze"
	// CapPrefetch: an encoder that makes use of ForwardRequest.Next.
	CapPrefetch = "prefetch"
)

// Descriptor is what a plugin says of itself without being configured. `make plugins` and the first
// use of a foreign plugin store it as JSON, so that a spec is checked without starting a process.
type Descriptor struct {
	Kind         Kind       `json:"kind"`
	Name         string     `json:"name"`    // the last path element: vit
	Version      string     `json:"version"` // of the plugin
	Protocol     int        `json:"protocol"`
	Modality     Modality   `json:"modality,omitempty"` // encoders only
	Summary      string     `json:"summary"`            // one line
	Capabilities []string   `json:"capabilities,omitempty"`
	Schema       []Field    `json:"schema"`
	Relations    []Relation `json:"relations,omitempty"`
	Sizes        []Size     `json:"sizes,omitempty"`
	// Files and Versions are what a script consists of beside itself: files of its folder, as globs (none: all code
	// there), and the versions of what it is run with. When they change it is another plugin.
	Files    []string          `json:"files,omitempty"`
	Versions map[string]string `json:"versions,omitempty"`
}

// FieldType is the type of a with field.
type FieldType string

// The types of a with field.
const (
	TypeInt    FieldType = "int"
	TypeFloat  FieldType = "float"
	TypeBool   FieldType = "bool"
	TypeString FieldType = "string"
	TypePath   FieldType = "path" // a file or folder that must exist; relative to the spec file
	TypeList   FieldType = "list" // of Elem
	TypeMap    FieldType = "map"  // string → Elem
)

// Field is one key of a with block.
type Field struct {
	Name    string    `json:"name"`
	Type    FieldType `json:"type"`
	Elem    FieldType `json:"elem,omitempty"`
	Default any       `json:"default,omitempty"` // nil: the zero value
	// Required fields must be given.
	Required bool     `json:"required,omitempty"`
	Enum     []string `json:"enum,omitempty"`
	Min      *float64 `json:"min,omitempty"` // inclusive; of list elements too
	Max      *float64 `json:"max,omitempty"` // inclusive
	Len      int      `json:"len,omitempty"` // exact length of a list; 0: any
	Help     string   `json:"help"`
}

// Relation is a rule over several int fields: Field is a multiple of Of. Either may be absent from
// the with block and then takes its default; a relation with a zero operand holds.
type Relation struct {
	Rule  string `json:"rule"` // multiple_of
	Field string `json:"field"`
	Of    string `json:"of"`
}

// Size says how many samples a dataset has when its with block, defaults filled in, has all the
// values of When. The first that matches counts; none means unknown until it is opened.
type Size struct {
	When map[string]any `json:"when"`
	N    int            `json:"n"`
}
