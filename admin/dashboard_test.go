package admin

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDashboard: the dashboard asks for nothing that there is not, shows every metric, and none of its
// panels lies over another. TestAlertMetrics does the same for the alerts.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../deploy/monitoring/dashboard.json")
	must(t, err)
	var board struct {
		Panels []struct {
			ID                       int
			Title, Description, Type string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(text, &board))
	shown, taken, ids := map[string]bool{}, map[[2]int]string{}, map[int]bool{}
	for _, p := range board.Panels {
		if p.Title == "" || p.Description == "" || p.Type == "" || len(p.Targets) == 0 || ids[p.ID] {
			t.Errorf("panel %d, %q: its ID, title, description, type or query is missing or another's", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beside the board", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			asked(t, p.Title, target.Expr, shown)
		}
	}
	for _, name := range metricNames() {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// TestAlertMetrics: the alerts ask for nothing that there is not.
func TestAlertMetrics(t *testing.T) {
	text, err := os.ReadFile("../deploy/monitoring/alerts.yaml")
	must(t, err)
	shown := map[string]bool{}
	for _, expr := range regexp.MustCompile(`(?m)^ *expr: (.*)$`).FindAllStringSubmatch(string(text), -1) {
		asked(t, "alerts.yaml", expr[1], shown)
	}
	if len(shown) < 5 {
		t.Errorf("the alerts ask for %v: the file is not read as it stands", shown)
	}
}

// asked notes the metrics that a query asks for, all of which there must be.
func asked(t *testing.T, where, expr string, shown map[string]bool) {
	t.Helper()
	found := regexp.MustCompile(`understudy_[a-z_]+`).FindAllString(expr, -1)
	if len(found) == 0 {
		t.Errorf("%s: %q asks for no metric of understudy", where, expr)
	}
	for _, name := range found {
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if whole := strings.TrimSuffix(name, part); strings.HasSuffix(whole, "_duration_seconds") {
				name = whole
			}
		}
		if shown[name] = true; !slices.Contains(metricNames(), name) {
			t.Errorf("%s asks for %s, which there is not", where, name)
		}
	}
}

// metricNames are those of all metrics.
func metricNames() (all []string) {
	for _, d := range named {
		name, _, _ := strings.Cut(strings.TrimPrefix(d.String(), `Desc{fqName: "`), `"`)
		all = append(all, name)
	}
	return all
}
