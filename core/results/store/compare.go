package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem/core/fault"
)

// Number carries a float64 through JSON: NaN is null, infinities are the strings "Infinity" and
// "-Infinity".
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	switch v := float64(n); {
	case math.IsNaN(v):
		return []byte("null"), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "null":
		*n = Number(math.NaN())
	case `"Infinity"`:
		*n = Number(math.Inf(1))
	case `"-Infinity"`:
		*n = Number(math.Inf(-1))
	default:
		return json.Unmarshal(b, (*float64)(n))
	}
	return nil
}

// Comparison sets runs side by side; every slice in it is in the order of Runs.
type Comparison struct {
	Runs    []RunInfo          `json:"runs"`
	Metrics []MetricComparison `json:"metrics"`
	Params  []ParamComparison  `json:"params"` // only those that differ
}

// MetricComparison holds the last value of a metric in each run; nil where it was not recorded.
type MetricComparison struct {
	Metric string    `json:"metric"`
	Better float64   `json:"better"` // +1: larger is better, -1: smaller
	Values []*Number `json:"values"`
}

// ParamComparison holds the value of a configuration key in each run; nil where the key is not set.
type ParamComparison struct {
	Key    string `json:"key"`
	Values []any  `json:"values"`
}

// Compare sets runs side by side, given by id. Errors: fault.NotFound when there is no run of an id.
func (r *Reader) Compare(ctx context.Context, ids ...string) (*Comparison, error) {
	c := &Comparison{Metrics: []MetricComparison{}, Params: []ParamComparison{}}
	infos, err := collect(ctx, r, scanRunInfo, "SELECT "+runColumns+runValueColumns+" FROM "+ofKeys+" CROSS JOIN v_runs v ON v.run_id = r.key JOIN experiment e ON e.name = v.experiment", jsonArray(ids))
	if err != nil {
		return nil, err
	}
	byID := map[string]RunInfo{}
	for _, i := range infos {
		byID[i.ID] = i
	}
	places := map[string][]int{} // of an id in ids
	for at, id := range ids {
		info, ok := byID[id]
		if !ok {
			return nil, fault.New(fault.NotFound, "there is no run %s in %s", id, r.path)
		}
		c.Runs = append(c.Runs, info)
		places[id] = append(places[id], at)
	}
	metrics := map[string]*MetricComparison{}
	if _, err := collect(ctx, r, func(rows *sql.Rows) (none struct{}, err error) {
		var id, name string
		var last sql.NullFloat64
		var better float64
		err = rows.Scan(&id, &name, &last, &better)
		m := metrics[name]
		if m == nil {
			m = &MetricComparison{Metric: name, Better: better, Values: make([]*Number, len(ids))}
			metrics[name] = m
		}
		for _, at := range places[id] {
			n := Number(number(last))
			m.Values[at] = &n
		}
		return none, err
	}, `SELECT r.key, m.name, s.last, m.better * m.directed
		FROM `+ofKeys+` CROSS JOIN run_summary s ON s.run_id = r.id JOIN metric m ON m.id = s.metric_id`, jsonArray(ids)); err != nil {
		return nil, err
	}
	settings, err := r.ParamsOf(ctx, slices.Collect(maps.Keys(places)))
	if err != nil {
		return nil, err
	}
	params := map[string][]any{}
	for id, of := range settings {
		for key, v := range of {
			if params[key] == nil {
				params[key] = make([]any, len(ids))
			}
			for _, at := range places[id] {
				params[key][at] = v
			}
		}
	}
	for _, name := range sortedKeys(metrics) {
		c.Metrics = append(c.Metrics, *metrics[name])
	}
	for _, key := range sortedKeys(params) {
		if differ(params[key]) {
			c.Params = append(c.Params, ParamComparison{key, params[key]})
		}
	}
	return c, nil
}

// differ reports whether not all values print alike; numbers print alike when they are equal.
func differ(values []any) bool {
	for _, v := range values[1:] {
		if paramText(v) != paramText(values[0]) {
			return true
		}
	}
	return false
}

func paramText(v any) string {
	switch v := v.(type) {
	case nil:
		return "\x00nil"
	case json.RawMessage:
		return "json " + string(v)
	case int64:
		return fmt.Sprintf("number %v", float64(v))
	case float64:
		return fmt.Sprintf("number %v", v)
	}
	return fmt.Sprintf("%T %v", v, v)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
