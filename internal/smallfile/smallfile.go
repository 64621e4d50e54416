// Package smallfile reads files that people write: settings, secrets, certificates.
package smallfile

import (
	"fmt"
	"io"
	"os"
)

// Most is how many bytes such a file has.
const Most = 1 << 20

// Read returns what a file holds, as os.ReadFile does. One with more than Most bytes, such as
// a device or a log that was named by mistake, is refused by name.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := io.ReadAll(io.LimitReader(f, Most+1))
	if err == nil && len(text) > Most {
		err = &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d bytes", Most)}
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}
