package conformance

import (
	"encoding/json"
	"fmt"

	"tandem/core/clip"
	"tandem/core/fault"
)

// mostKeys limits how many samples of a dataset are asked for their keys.
const mostKeys = 20_000

// eachKey calls f with the key of every sample, of the first ones of a large dataset, without pictures.
func (d *datasetTrial) eachKey(f func(key string, index int) error) error {
	const many = 512
	for begin := 0; begin < min(d.info.Len, mostKeys); begin += many {
		q := clip.BatchRequest{NoImages: true}
		for i := begin; i < min(d.info.Len, mostKeys, begin+many); i++ {
			q.Indices = append(q.Indices, i)
		}
		b, err := d.Batch(ctx, q)
		if err != nil {
			return fmt.Errorf("samples %d to %d without pictures: %w", begin, q.Indices[len(q.Indices)-1], err)
		}
		b.Images.Free() // it may have come all the same
		if len(b.Keys) != len(q.Indices) {
			return fmt.Errorf("%d keys for %d samples", len(b.Keys), len(q.Indices))
		}
		for i, key := range b.Keys {
			if err := f(key, q.Indices[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c datasetCase) keys() error {
	return c.with(nil, func(d *datasetTrial) error {
		seen := map[string]int{}
		return d.eachKey(func(key string, index int) error {
			if other, again := seen[key]; again || key == "" {
				return fmt.Errorf("samples %d and %d have the key %q", other, index, key)
			}
			seen[key] = index
			return nil
		})
	})
}

func (c datasetCase) splits() error {
	if len(c.o.Splits) < 2 {
		return notChecked("no option chooses among splits")
	}
	owner := map[string]string{}
	for _, with := range c.o.Splits {
		split := c
		split.o.With = with
		if d, err := split.open(nil); fault.KindOf(err) == fault.Invalid {
			return notChecked("a split needs other options: " + err.Error())
		} else if err == nil {
			d.Close()
		}
		err := split.alone(nil, func(d *datasetTrial) error {
			return d.eachKey(func(key string, _ int) error {
				if other, taken := owner[key]; taken && other != with {
					return fmt.Errorf("the sample %q is in the splits of %s and of %s", key, json.RawMessage(other), json.RawMessage(with))
				}
				owner[key] = with
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
