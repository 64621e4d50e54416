package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Left are the processes in whose environment a variable has this value, each as "PID:
// command line".
func Left(t testing.TB, variable, value string) (left []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	Must(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(append([]byte{0}, text...), []byte("\x00"+variable+"="+value+"\x00")) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		left = append(left, filepath.Base(filepath.Dir(name))+": "+strings.ReplaceAll(string(args), "\x00", " "))
	}
	return left
}
