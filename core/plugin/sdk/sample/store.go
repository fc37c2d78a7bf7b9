package sample

import (
	"tandem/core/clip"
	"tandem/core/data/object"
)

// FromStore makes a set of what a Store holds. The Store is closed with the set, behind what the set itself closes, and when read
// fails.
func FromStore(c clip.DatasetConfig, s object.Settings, read func(*object.Store) (*Set, error)) (*Set, error) {
	store, err := s.Open(c)
	if err != nil {
		return nil, err
	}
	set, err := read(store)
	if err != nil {
		store.Close()
		return nil, err
	}
	own := set.Close
	set.Close = func() {
		if own != nil {
			own()
		}
		store.Close()
	}
	return set, nil
}
