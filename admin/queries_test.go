//go:build haproxy

package admin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDashboardQueries: Prometheus's own tool can read every query of the dashboard.
func TestDashboardQueries(t *testing.T) {
	text, err := os.ReadFile("../deploy/monitoring/dashboard.json")
	must(t, err)
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, m := range regexp.MustCompile(`"expr": ("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(string(text), -1) {
		query, err := strconv.Unquote(m[1])
		must(t, err)
		query = strings.NewReplacer("$__range", "1h", "$role", ".*").Replace(query) // as Grafana does
		rules += fmt.Sprintf("  - {record: 'query:%d', expr: %q}\n", i, query)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	must(t, os.WriteFile(file, []byte(rules), 0o600))
	if said, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil || !strings.Contains(string(said), "rules found") {
		t.Errorf("%v\n%s", err, said)
	}
}
