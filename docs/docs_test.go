// Package docs has the pages for people, and runs every command that they show.
package docs

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/script"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

var long = flag.Bool("long", false, "run the commands that take more than two minutes or a network, too: hours")

// byFlag are the pages whose commands take more servers than etcd and Consul: each is run where a flag of its name says so.
var byFlag = map[string]*bool{
	"postgres":   flag.Bool("postgres", false, "run the commands of postgres.md, too: they take a PostgreSQL server (make testpostgres)"),
	"s3":         flag.Bool("s3", false, "run the commands of s3.md, too: they take versitygw (make test-s3)"),
	"nats":       flag.Bool("nats", false, "run the commands of nats.md, too: they take NATS servers (make test-nats)"),
	"helm":       flag.Bool("helm", false, "run the commands of helm.md, too: they take Docker, Helm and a control plane of Kubernetes (make test-helm)"),
	"kubernetes": flag.Bool("kubernetes", false, "run the commands of kubernetes.md, too: they take an API server and kubectl (make test-kubernetes)"),
}

// scenarios are those of testdata, by the page that each is about.
func scenarios(t *testing.T) map[string]script.Script {
	t.Helper()
	all := map[string]script.Script{}
	paths, _ := filepath.Glob("testdata/*.txt")
	for _, path := range paths {
		s, err := script.Read(path)
		lab.Must(t, err)
		all[s.Options] = s
	}
	return all
}

// TestEveryCommandHasItsStep expects every command that a page shows in the page's scenario,
// and nothing there that the page does not show.
func TestEveryCommandHasItsStep(t *testing.T) {
	pages, _ := filepath.Glob("*.md")
	pages = append(pages, "../README.md")
	all := scenarios(t)
	for name := range all {
		if !slices.Contains(pages, name) {
			t.Errorf("%s: a scenario is about it, and there is no such page", name)
		}
	}
	for _, name := range pages {
		p, err := readPage(name)
		lab.Must(t, err)
		steps, err := readSteps(all[name])
		lab.Must(t, err)
		notRun, notShown := missing(p, steps)
		for _, command := range notRun {
			t.Errorf("%s shows a command that no scenario in docs/testdata runs: %s", name, command)
		}
		for _, command := range notShown {
			t.Errorf("%s does not show what %s runs of it: %s", name, all[name].Path, command)
		}
	}
}

// TestANewBlockIsMissed: a command that is added to a page, in whichever way, is noticed.
func TestANewBlockIsMissed(t *testing.T) {
	for text, want := range map[string]string{
		"Do:\n\n    a new --command  # why\n":           "a new --command",
		"Do:\n\n    a new \\\n      --command\n\nThen.": "a new --command",
		"Do:\n\n```\na new --command\n```\n":            "a new --command",
		"Do:\n\n```sh\n# why\na new --command\n```\n":   "a new --command",
		"Do `understudy\nnew --command` then.":          "understudy new --command",
		"Do `FAR=1s make new` then.":                    "FAR=1s make new",
		"Do:\n\n```go\nfunc new()\n```\n":               "",
		"Say `--flag`.\n":                               "",
	} {
		notRun, _ := missing(parsePage(text), []step{{"run", "another"}})
		if got := strings.Join(notRun, "|"); got != want {
			t.Errorf("of %q nobody runs %q, want %q", text, got, want)
		}
	}
	if notRun, _ := missing(parsePage("    understudy evict\n"), []step{{"names", "understudy evict"}}); len(notRun) != 1 {
		t.Error("a command in a block counts as run, though its scenario only names it")
	}
	if _, notShown := missing(page{}, []step{{"run", "gone"}}); len(notShown) != 1 {
		t.Error("a step whose command is gone from the page is not noticed")
	}
	for text, want := range map[string]int{"key: 1": 0, "key: 2": 1, "key": 1, "": 1} {
		blocks := parsePage("```yaml\nkey: 1\n```\n\n```yaml\nkey: 3\n```\n")
		if _, notShown := missing(blocks, []step{{"block", "file.yaml " + text}}); len(notShown) != want {
			t.Errorf("of two blocks the one with %q: %d mistakes, want %d", text, len(notShown), want)
		}
	}
}

// TestVersions: docs/versions.md names the servers that the tests run on.
func TestVersions(t *testing.T) {
	page, err := os.ReadFile("versions.md")
	lab.Must(t, err)
	for store, module := range map[string]string{"etcd": "go.etcd.io/etcd/server/v3", "consul": "github.com/hashicorp/consul"} {
		needs, err := os.ReadFile("../internal/lab/servers/" + store + "/go.mod")
		lab.Must(t, err)
		version := regexp.MustCompile(module + ` v(\S+)`).FindSubmatch(needs)
		if version == nil || !strings.Contains(string(page), " "+string(version[1])+": the whole suite") {
			t.Errorf("versions.md does not say that the whole suite runs on %s %s", store, version)
		}
	}
}

// TestLongStepsAreRun: some target of make runs the long steps of each page.
func TestLongStepsAreRun(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	lab.Must(t, err)
	for name, s := range scenarios(t) {
		steps, err := readSteps(s)
		lab.Must(t, err)
		if !slices.ContainsFunc(steps, func(s step) bool { return s.word == "long" }) {
			continue
		}
		page := strings.TrimSuffix(name, ".md")
		if byFlag[page] != nil && !strings.Contains(string(makefile), "-args -"+page+" -long\n") {
			t.Errorf("%s has long steps, and the Makefile no line that ends with -args -%s -long", name, page)
		}
	}
}

// TestCommands runs every scenario, with the command as it is shipped.
func TestCommands(t *testing.T) {
	bin := t.TempDir()
	ship(t, bin)
	for name, s := range scenarios(t) {
		page := strings.TrimSuffix(filepath.Base(name), ".md")
		if on := byFlag[page]; on != nil && !*on {
			continue
		}
		t.Run(page, func(t *testing.T) {
			p, err := readPage(name)
			lab.Must(t, err)
			r, before := newRunner(t, bin, p), inRoot(t)
			for _, b := range s.Trace {
				r.play(b)
			}
			r.stop()
			if left := slices.DeleteFunc(inRoot(t), func(name string) bool { return slices.Contains(before, name) }); len(left) > 0 {
				t.Errorf("it leaves %s in the repository", left)
			}
		})
	}
}

// inRoot are the names in the repository's folder, without what is built there.
func inRoot(t *testing.T) (names []string) {
	t.Helper()
	all, err := os.ReadDir("..")
	lab.Must(t, err)
	for _, one := range all {
		if name := one.Name(); name != "bin" && name != "dist" && name != "report" {
			names = append(names, name)
		}
	}
	return names
}

// ship builds the command as the Makefile does, and puts the tools that the pages use beside
// it: all of them come from `make servers`.
func ship(t *testing.T, bin string) {
	t.Helper()
	recipe := exec.Command("make", "-s", "-n", "build")
	recipe.Dir, recipe.Env = "..", environ()
	line, err := recipe.Output()
	lab.Must(t, err)
	const usual = "-o bin/"
	if !strings.Contains(string(line), usual) {
		t.Fatalf("make build does not build with %q any more: %s", usual, line)
	}
	build := exec.Command("sh", "-c", strings.ReplaceAll(string(line), usual, "-o "+bin+"/"))
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	etcd, err := servers.Path("etcd")
	lab.Must(t, err)
	consul, err := servers.Path("consul")
	lab.Must(t, err)
	etcdctl := filepath.Join(filepath.Dir(etcd), "etcdctl")
	if _, err := os.Stat(etcdctl); err != nil {
		t.Fatalf("%v: run `make servers` once", err)
	}
	for _, tool := range []string{etcd, consul, etcdctl} {
		lab.Must(t, os.Symlink(tool, filepath.Join(bin, filepath.Base(tool))))
	}
}
