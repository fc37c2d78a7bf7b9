package stat

// Resample sets how many resamples intervals take, and gives back what it was.
func Resample(n int) int {
	before := resamples
	resamples = n
	return before
}
