package store

import (
	"strings"
	"testing"
)

// TestViewsAreThoseOfTheDatabase fails when a migration adds a view or a column that is not exported.
func TestViewsAreThoseOfTheDatabase(t *testing.T) {
	db := open(t)
	known := map[string]bool{"v_cells.experiment_id": true, "v_cells.run": true} // rows of tables, not part of the interface
	for _, v := range Views() {
		for _, c := range v.Columns {
			known["v_"+v.Name+"."+c.Name] = true
		}
	}
	table, err := db.Query(ctx, "SELECT v.name || '.' || c.name FROM sqlite_schema v, pragma_table_info(v.name) c WHERE v.type = 'view'")
	must(t, err)
	for _, row := range table.Rows {
		if name := row[0].(string); !known[name] && !strings.HasPrefix(name, "v_cell_metrics.") {
			t.Errorf("store.Views lacks %s", name)
		}
	}
}
