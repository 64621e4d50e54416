// Package failover measures how long a role is without an active when something
// fails, on real processes and real stores, and draws it.
//
// # What is measured
//
// A run is one fault. Every moment is read from CLOCK_MONOTONIC, which all
// processes of a machine share, and told relative to the moment just before the
// fault:
//
//	fault ──► told ──► granted ──► started ──► success
//	   detect    grant    activate
//
// told: the standby that will win saw that the role is vacant or its own, or judged
// the active silent. granted: the store confirmed the role. started: the work's
// function was entered. success: the work did its first thing and it was taken. The
// gap is fault to started, the sum of its three parts.
//
// The work stamps every few milliseconds that it believes to be active; a stamp's time is
// read before the belief is checked, so a process that was paused between the two
// claims nothing. Overlap is how long two works stamped at once. It must be 0.
//
// # What makes a figure honest
//
// Stores take turns in an order drawn by the seed. The moment of injection is spread
// evenly over the beat interval. One run per store is dropped as a warm-up. A run
// that did not fail over within its limit is counted as late and shown, and stands
// in the quantiles as endless: it can make them worse, never better. Floors, one commit
// of the store and one delivery of a watch, are measured on the same servers before every
// round of runs, so that their quantiles are of the same minutes.
//
// # Files
//
// runs.csv has a line per run, with the columns of Columns. summary.json is a
// Summary; environment.json is an Environment; times in both are in milliseconds.
// report.html and the SVG figures are drawn from these alone.
package failover
