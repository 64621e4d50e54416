package clientconf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/understudy-ha/understudy/internal/smallfile"
)

// Secret reads a password or a token from a file that nobody else may read.
func Secret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "", fmt.Errorf("%s: is a directory; name a file in it", path)
	}
	if err := Private(path, info); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text, err := smallfile.Read(path)
	if err != nil {
		return "", err
	}
	clean, err := Clean(string(text))
	if err == nil && clean == "" {
		err = errors.New("is empty")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return clean, nil
}

// Private says who else may read a file. One that nobody may write and a group may read, as
// Kubernetes mounts it (mode 0440), is private where the group is one of this process's.
func Private(path string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	if mode&0o077 == 0 || mode == 0o440 && ourGroup(info) {
		return nil
	}
	cure := "chmod 600 " + path
	if _, err := os.Readlink(path); err == nil {
		cure += ", or where Kubernetes mounts it a defaultMode of 0440 and an fsGroup"
	}
	return fmt.Errorf("others may read it (mode %04o): %s", mode, cure)
}

// Clean is a secret without the ends of lines that an editor, or echo, puts after it.
func Clean(text string) (string, error) {
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(text, mark) {
			return "", errors.New("begins with a byte order mark, as editors on Windows put it there; write it as UTF-8 without one")
		}
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// Shown is an address as an error may show it: a user and a password before the host are left out.
func Shown(address string) string {
	at := strings.LastIndex(address, "@")
	if at < 0 {
		return address
	}
	scheme, _, found := strings.Cut(address[:at], "://")
	if !found {
		return "..." + address[at:]
	}
	return scheme + "://..." + address[at:]
}
