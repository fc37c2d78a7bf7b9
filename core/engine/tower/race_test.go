//go:build race

package tower

func init() { racing = true }
