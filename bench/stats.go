package main

import "slices"

// quantile returns the q-quantile of values, with q from 0 to 1, and 0 if there
// are none. Between two values it interpolates.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// median is the middle one of values.
func median(values []float64) float64 { return quantile(values, 0.5) }
