package failover

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Endless is the measure of a run that did not end within its limit.
const Endless = time.Duration(math.MaxInt64)

// quantile is the exact one of a sorted sample, by nearest rank: a value that was
// measured, of which at least the share q is not greater.
func quantile(sorted []time.Duration, q float64) time.Duration {
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// medianOf is the median of a sorted sample: of an even number the mean of the two in the
// middle, which is endless where one of them is.
func medianOf(sorted []time.Duration) time.Duration {
	high := sorted[len(sorted)/2]
	if len(sorted)%2 == 1 || high == Endless {
		return high
	}
	low := sorted[len(sorted)/2-1]
	return low + (high-low)/2
}

// FewRuns is how many runs are too few to say where a median lies: from less than eight,
// resampling draws little but what is already known, and claims a certainty that is not there.
const FewRuns = 8

// resamples is how many samples the bootstrap draws.
const resamples = 2000

// medianInterval is where the median lies with a confidence of 95 %, by bootstrap: the
// percentiles of the medians of samples drawn with replacement. The draw is the same
// each time, so that one file gives one figure.
func medianInterval(sorted []time.Duration) (low, high time.Duration) {
	medians := bootstrap(sorted, rand.New(rand.NewPCG(1, 2)))
	slices.Sort(medians)
	return quantile(medians, 0.025), quantile(medians, 0.975)
}

// bootstrap draws the medians of resampled samples.
func bootstrap(sample []time.Duration, draw *rand.Rand) []time.Duration {
	medians, drawn := make([]time.Duration, resamples), make([]time.Duration, len(sample))
	for i := range medians {
		for j := range drawn {
			drawn[j] = sample[draw.IntN(len(sample))]
		}
		slices.Sort(drawn)
		medians[i] = medianOf(drawn)
	}
	return medians
}

// difference is where, with a confidence of 95 %, the median of b minus that of a lies.
func difference(a, b []time.Duration) (low, high time.Duration) {
	draw := rand.New(rand.NewPCG(3, 4))
	of, than := bootstrap(b, draw), bootstrap(a, draw)
	for i := range of {
		of[i] -= than[i]
	}
	slices.Sort(of)
	return quantile(of, 0.025), quantile(of, 0.975)
}
