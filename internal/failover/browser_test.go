//go:build report

package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// frame shows a page as wide as a window: no window of Chromium's is as narrow as a phone.
// What a reader would see of it is then written below it.
const frame = `<!doctype html><body style="margin:0"><iframe style="border:0" width="%d" height="%d" srcdoc="%s"></iframe><pre></pre><script>
document.querySelector("iframe").addEventListener("load", e => {
  const page = e.target.contentDocument, view = e.target.contentWindow;
  const size = name => e => parseFloat(view.getComputedStyle(e)[name]);
  const outside = e => e.getBoundingClientRect().right > view.innerWidth + 0.5;
  const scrolls = e => e && (["auto", "scroll"].includes(view.getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  document.querySelector("pre").textContent = JSON.stringify({
    wide: page.documentElement.scrollWidth - view.innerWidth,
    loaded: view.performance.getEntriesByType("resource").length,
    outside: [...page.body.querySelectorAll("*")].filter(e => outside(e) && !scrolls(e.parentElement)).map(e => e.outerHTML.slice(0, 200)),
    small: [...page.body.querySelectorAll("main td, main th, p, li, dd")].filter(e => size("fontSize")(e) < 11).map(e => e.outerHTML.slice(0, 200)),
    text: page.body.innerText,
    figures: [...page.querySelectorAll("svg")].map(svg => {
      const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
      return {
        role: svg.getAttribute("role"),
        words: (svg.getAttribute("aria-labelledby") || "").split(" ").map(id => page.getElementById(id)?.textContent || ""),
        visible: box.width > 200 && box.height > 80,
        drawn: [...svg.querySelectorAll("path")].filter(p => view.getComputedStyle(p).stroke !== "none" || view.getComputedStyle(p).fill !== "none").length,
        letters: scale * Math.min(...[...svg.querySelectorAll("text")].map(size("fontSize"))),
      };
    }),
  });
});
</script></body>`

// A view is what frame writes.
type view struct {
	Wide, Loaded   int
	Outside, Small []string // elements that are cut off; whose letters nobody can read
	Text           string
	Figures        []struct {
		Role    string
		Words   []string
		Visible bool
		Drawn   int
		Letters float64 // of the smallest, pixels
	}
}

// readable is how small letters may be, in pixels.
const readable = 9.5

// TestReportInABrowser opens the report as a reader does, on a desk and on a phone.
func TestReportInABrowser(t *testing.T) {
	dir := t.TempDir()
	real, err := Run(t.Context(), fakePlan(t, "", 2, "clean", "hang"))
	if err != nil {
		t.Fatal(err)
	}
	r, e := madeUp(30), madeUpEnvironment()
	r.Samples = append(r.Samples, real.Samples...)
	e.Settings.LeftOut = []string{"etcd is left out: " + strings.Repeat("/a/long/path", 10)}
	if err := Write(dir, e, r); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	figures, err := Draw(Summarize(r), 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string][2]int{"desk": {1200, 800}, "phone": {360, 740}} {
		t.Run(name, func(t *testing.T) {
			v := inFrame(t, page, size)
			if v.Wide > 0 || v.Loaded > 0 || len(v.Outside) > 0 || len(v.Small) > 0 {
				t.Errorf("the page is %d pixels too wide, loads %d files, cuts off %s, and is too small at %s", v.Wide, v.Loaded, v.Outside, v.Small)
			}
			if !strings.Contains(v.Text, "Never two at once") {
				t.Error("the page lacks its verdict")
			}
			if len(v.Figures) != len(figures) {
				t.Errorf("%d figures are seen, %d were drawn", len(v.Figures), len(figures))
			}
			for _, f := range v.Figures {
				if f.Role != "img" || !f.Visible || f.Drawn < 4 || slices.Contains(f.Words, "") || f.Letters < readable {
					t.Errorf("a figure is not seen well: %+v", f)
				}
			}
			for _, f := range figures {
				if _, err := os.Stat(filepath.Join(dir, f.Name+".svg")); err != nil || !strings.Contains(v.Text, f.Title) {
					t.Errorf("%s: %v, or its title is not seen", f.Name, err)
				}
			}
		})
	}
}

// inFrame opens a page in a frame of a size.
func inFrame(t *testing.T, page []byte, size [2]int) (v view) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frame.html")
	if err := os.WriteFile(path, fmt.Appendf(nil, frame, size[0], size[1], html.EscapeString(string(page))), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
		"--user-data-dir="+t.TempDir(), "--window-size=1280,900", "--dump-dom", "file://"+path).Output()
	if err != nil {
		t.Fatalf("chromium: %v: install it, such as by apt-get install chromium", err)
	}
	_, text, _ := strings.Cut(string(out), "<pre>")
	text, _, _ = strings.Cut(text, "</pre>")
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &v); err != nil {
		t.Fatalf("%v: the browser said %q", err, text)
	}
	return v
}
