// Package databases tests package fencingsql on real databases. It is a module of its
// own, so that no driver enters the one that is embedded.
package databases
