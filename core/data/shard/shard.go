// Package shard reads tar files of samples as webdataset keeps them: the members of a sample lie together and share their
// name up to its first dot, such as 000012.jpg, 000012.txt and 000012.json. Each shard is looked through once. Its index, which
// has the place of each picture and the texts beside it, is kept in a file, so that later every sample is read by its number.
package shard

import (
	"fmt"

	"tandem/core/clip"
	"tandem/core/fault"
)

// The reasons for which records are refused here.
const (
	reasonShard     = "corrupt shard"
	reasonMissing   = "missing shard"
	reasonRecord    = "corrupt record"
	reasonDuplicate = "duplicate key"
	reasonNoPicture = "no picture"
	reasonEmpty     = "empty picture"
	reasonUTF8      = "not UTF-8"
)

// Wanted says what is taken of a sample.
type Wanted struct {
	// Pictures lists the endings of pictures, in lower case and without a dot. The first of them that a sample has is its
	// picture.
	Pictures []string
	// Texts lists the texts to keep in the index, each by alternatives: the first that a sample has is kept.
	Texts [][]Source
}

// Record describes a sample of a shard.
type Record struct {
	Key string // what the names of its members begin with, as it stands in the shard: not always UTF-8
	// Ending is that of the picture's member, and Offset and Size tell where its bytes lie in the shard.
	Ending       string
	Offset, Size int64
	// Texts holds what the sample has of each of Wanted.Texts: no blank texts, trimmed, UTF-8.
	Texts [][]string
}

// Flaw counts what could not be used for one reason.
type Flaw struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	// Member is the first member at fault, or the key of its sample; "" for the shard itself. Message says what is wrong.
	Member  string `json:"member,omitempty"`
	Message string `json:"message"`
}

// text says where in a shard the first record is and what is wrong with it.
func (f Flaw) text(shard string) string {
	if f.Member == "" {
		return fmt.Sprintf("%s: %s", shard, f.Message)
	}
	return fmt.Sprintf("%s: member %s: %s", shard, fault.PrintableLine(f.Member), f.Message)
}

// Skip returns the flaw as the refusals of a dataset are counted.
func (f Flaw) Skip(shard string) clip.Skip {
	return clip.Skip{Reason: f.Reason, Count: f.Count, First: f.text(shard)}
}

// Fault returns the flaw as an error.
func (f Flaw) Fault(shard string) *fault.Error {
	kind := fault.Corrupt
	if f.Reason == reasonMissing {
		kind = fault.NotFound
	}
	message := f.Message
	if f.Member != "" {
		message = fmt.Sprintf("member %s: %s", fault.PrintableLine(f.Member), f.Message)
	}
	return fault.New(kind, "%s", message).WithFile(shard, 0, 0).WithReason(f.Reason).WithHint("mend or remove it, or set on_error: skip")
}
