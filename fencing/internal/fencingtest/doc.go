// Package fencingtest holds the tests of the guards on real stores and with real
// processes: its test binary is also the contender that is paused.
package fencingtest
