//go:build !linux

package main

func maySetUser(string) bool { return false }
