package clientconf

import (
	"fmt"
	"strconv"
)

// CheckPort says what is wrong with the port of a server.
func CheckPort(port string) error {
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q must be a number from 1 to 65535", port)
	}
	return nil
}
