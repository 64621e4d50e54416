//go:build !linux

package main

import "syscall"

func demoAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
