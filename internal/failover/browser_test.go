//go:build report

package failover

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// looker is a script that writes into the page what a reader would see of it.
const looker = `<script>
addEventListener("load", () => {
  const root = document.documentElement;
  root.dataset.wide = document.body.scrollWidth > innerWidth ? "too-wide" : "fits";
  root.dataset.loaded = performance.getEntriesByType("resource").length;
  for (const svg of document.querySelectorAll("svg")) {
    const box = svg.getBoundingClientRect();
    const words = (svg.getAttribute("aria-labelledby") || "").split(" ").map(id => document.getElementById(id)?.textContent || "").join("|");
    const drawn = [...svg.querySelectorAll("path")].filter(p => getComputedStyle(p).stroke !== "none" || getComputedStyle(p).fill !== "none").length;
    svg.dataset.seen = [svg.getAttribute("role"), box.width > 200 && box.height > 80 ? "visible" : "hidden", drawn > 3 ? "drawn" : "empty", words].join("|");
  }
});
</script>`

// TestReportInABrowser opens the report as a reader does, on a desk and on a phone.
func TestReportInABrowser(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, madeUpEnvironment(), madeUp(30)); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open.html")
	if err := os.WriteFile(open, []byte(strings.Replace(string(page), "</body>", looker+"</body>", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	figures, err := Draw(Summarize(madeUp(30)), 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]string{"desk": "1280,900", "phone": "500,800"} {
		t.Run(name, func(t *testing.T) {
			dom := dump(t, open, size)
			for _, want := range []string{`data-wide="fits"`, `data-loaded="0"`, "Never two at once"} {
				if !strings.Contains(dom, want) {
					t.Errorf("the page lacks %s", want)
				}
			}
			seen := regexp.MustCompile(`data-seen="img\|visible\|drawn\|([^"|]+)\|([^"]+)"`).FindAllStringSubmatch(dom, -1)
			if len(seen) != len(figures) {
				t.Errorf("%d figures are seen and have words, %d were drawn", len(seen), len(figures))
			}
			for _, f := range figures {
				if _, err := os.Stat(filepath.Join(dir, f.Name+".svg")); err != nil {
					t.Error(err)
				}
				if !strings.Contains(dom, "|"+f.Title+"|") {
					t.Errorf("%s is not seen", f.Name)
				}
			}
		})
	}
}

// dump is the page after its scripts ran.
func dump(t *testing.T, path, size string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
		"--user-data-dir="+t.TempDir(), "--window-size="+size, "--dump-dom", "file://"+path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v: install it, such as by apt-get install chromium", err)
	}
	return string(out)
}
