package servers

import "fmt"

// Addresses returns n different addresses of loopback, HOST:PORT, that nobody uses now. See
// Ports.
func Addresses(n int) (all []string, err error) {
	ports, err := Ports(n)
	for _, port := range ports {
		all = append(all, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return all, err
}
