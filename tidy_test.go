package understudy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/understudy-ha/understudy/"

// arrows is the architecture: what the code below a folder may import of this
// module. The longest folder that matches counts.
var arrows = map[string][]string{
	"lock":                           {},
	"coordinator":                    {"lock", "coordinator/internal/chronicle", "coordinator/internal/clock", "coordinator/internal/machine", "coordinator/internal/process", "coordinator/internal/tally", "internal/asynclog", "internal/canary", "internal/history", "internal/late"},
	"coordinator/internal/chronicle": {"lock", "coordinator/internal/machine", "internal/history"},
	"internal/history":               {"lock"},
	"coordinator/internal/clock":     {"coordinator/internal/machine"},
	"coordinator/internal/tally":     {},
	"coordinator/internal/machine":   {"lock"},
	"coordinator/internal/process":   {"lock"},
	"coordinator/coordinatorfx":      {"lock", "coordinator"},
	"coordinator/witness":            {"lock", "coordinator", "internal/history", "internal/procgroup", "internal/asynclog"},
	"admin":                          {"lock", "coordinator", "internal/history", "internal/certs", "internal/clientconf"},
	"backends":                       {"lock", "backends/memory", "backends/raft", "backends/etcd", "backends/consul", "backends/postgres", "backends/kubernetes", "backends/nats", "backends/s3", "backends/kv"},
	"backends/backendsfx":            {"lock", "backends", "backends/memory", "backends/raft", "backends/etcd", "backends/consul", "backends/postgres", "backends/kubernetes", "backends/nats", "backends/s3"},
	"backends/ledger":                {"lock", "internal/late"},
	"backends/memory":                {"lock", "backends/ledger"},
	"backends/object":                {"lock", "backends/ledger", "internal/backoff", "internal/late"},
	"backends/object/objectmem":      {"backends/object", "backends/kv/kvmem"},
	"backends/raft":                  {"lock", "backends/ledger", "internal/asynclog", "internal/certs", "internal/clientconf", "internal/lack", "internal/lasting", "internal/late", "internal/smallfile"},
	"backends/kv":                    {"lock", "internal/late"},
	"backends/kv/kvmem":              {"backends/kv"},
	"backends/kv/kvtest":             {"lock", "backends/kv", "internal/lab", "internal/lab/takeover"},
	"backends/etcd":                  {"lock", "backends/kv", "internal/certs", "internal/clientconf", "internal/late"},
	"backends/consul":                {"lock", "backends/kv", "internal/certs", "internal/clientconf", "internal/lasting", "internal/late"},
	"backends/postgres":              {"lock", "backends/object", "internal/certs", "internal/clientconf", "internal/late"},
	"backends/nats":                  {"lock", "backends/object", "internal/certs", "internal/clientconf", "internal/late"},
	"backends/kubernetes":            {"lock", "backends/object", "backends/ledger", "internal/clientconf", "internal/lasting"},
	"backends/s3":                    {"lock", "backends/object", "internal/clientconf", "internal/lasting", "internal/late"},
	"fencing":                        {"lock", "coordinator"},
	"fencing/fencingetcd":            {"lock", "fencing", "backends/kv"},
	"fencing/fencingconsul":          {"lock", "fencing", "backends/kv"},
	"fencing/fencingraft":            {"lock", "fencing"},
	"fencing/fencinghttp":            {"lock", "fencing"},
	"fencing/fencinggrpc":            {"lock", "fencing"},
	"fencing/internal/fencingtest":   {"lock", "coordinator", "backends", "backends/raft", "backends/etcd", "backends/consul", "backends/kv", "fencing", "fencing/fencingetcd", "fencing/fencingconsul", "fencing/fencingraft", "fencing/fencinghttp", "fencing/fencinggrpc"},
	"fencing/fencingsql":             {"lock", "fencing"},
	"fencing/fencingsql/databases":   {"lock", "fencing", "fencing/fencingsql"},
	"state":                          {"lock", "coordinator", "fencing"},
	"state/statetest":                {"state"},
	"conformance":                    {"lock", "coordinator"},
	"internal/lab":                   {"lock", "internal/lab/process"},
	"deploy":                         {},
	"docs":                           {"fencing", "fencing/fencinghttp", "internal/lab", "internal/lab/cluster", "internal/lab/script", "internal/lab/serve", "internal/lab/servers"},
	"internal/lab/guards":            {"lock", "fencing"},
	"internal/lab/hosts":             {"internal/lab", "internal/lab/process"},
	"internal/lab/cluster":           {"internal/lab", "internal/lab/process", "internal/lab/servers"},
	"internal/lab/script":            {},
	"internal/lab/process":           {},
	"internal/lab/serve":             {"internal/lab", "internal/lab/servers"},
	"internal/lab/servers":           {"internal/lab/process"},
	"internal/lab/storebench":        {"lock", "coordinator", "backends/kv", "internal/lab", "internal/lab/takeover"},
	"internal/lab/reach":             {"backends", "backends/s3", "internal/lab/servers"},
	"internal/lab/stores":            {"backends", "backends/raft", "config", "internal/lab", "internal/lab/reach", "internal/lab/servers"},
	"internal/lab/takeover":          {"lock", "backends/kv"},
	"internal/lab/ways":              {"lock", "conformance", "internal/lab/servers"},
	"internal/failover":              {"lock", "coordinator", "internal/lab/process", "internal/lab/servers"},
	"conformance/conformancetest":    {"conformance"},
	"internal/clientconf":            {"lock", "internal/certs", "internal/smallfile"},
	"config":                         {"lock", "admin", "coordinator", "coordinator/witness", "backends", "backends/raft", "backends/etcd", "internal/asynclog", "internal/certs", "internal/clientconf", "internal/smallfile"},
	"internal/cli":                   {"lock", "coordinator/witness", "config", "backends", "internal/procgroup", "internal/asynclog", "internal/certs", "internal/lack"},
	"cmd/understudy":                 {"lock", "admin", "coordinator", "config", "backends", "backends/raft", "backends/etcd", "backends/consul", "internal/cli", "internal/history", "internal/procgroup", "coordinator/witness", "internal/asynclog", "internal/certs"},
	"cmd/understudy-lab":             {"lock", "coordinator", "config", "backends", "backends/memory", "backends/raft", "backends/etcd", "backends/consul", "conformance", "internal/certs", "internal/cli", "internal/failover", "internal/lab/process", "internal/lab/reach", "internal/lab/servers", "internal/lab/ways", "coordinator/witness"},
	"examples":                       {"coordinator", "coordinator/witness", "coordinator/coordinatorfx", "config", "backends", "backends/backendsfx", "backends/raft", "backends/etcd", "backends/consul"},
	"examples/filestore":             {"lock", "backends", "backends/ledger"},
	"examples/zookeeper":             {"lock", "backends/object"},
	"examples/rootcoord":             {"lock", "coordinator", "coordinator/witness", "config", "backends", "fencing", "state"},
	"internal/procgroup":             {},
	"internal/asynclog":              {},
	"internal/certs":                 {"internal/smallfile"},
	"internal/smallfile":             {},
	"internal/backoff":               {},
	"internal/lack":                  {},
	"internal/lasting":               {},
	"internal/late":                  {},

	"internal/canary":                     {},
	"internal/lab/faultdisk":              {},
	"coordinator/coordinatorotel":         {"coordinator"},
	"coordinator/coordinatorotel/sdktest": {"lock", "coordinator", "coordinator/coordinatorotel"},
}

// pure packages are functions of their arguments: they cannot wait, log, or read a clock, a
// file or a random number.
var pure = map[string][]string{
	"coordinator/internal/machine": {"cmp", "errors", "fmt", "maps", "slices", "strings", "time"},
}

// inTests may be imported by test files besides.
var inTests = []string{"backends", "backends/raft", "coordinator", "coordinator/witness", "examples/filestore", "fencing", "fencing/fencingraft", "fencing/fencingetcd", "state", "state/statetest", "backends/kv", "backends/object", "backends/ledger", "backends/memory", "backends/kv/kvmem", "backends/kv/kvtest", "backends/object/objectmem", "conformance", "conformance/conformancetest", "internal/lab", "internal/lab/faultdisk", "internal/lab/guards", "internal/lab/cluster", "internal/lab/hosts", "internal/lab/script", "internal/lab/servers", "internal/lab/serve", "internal/lab/storebench", "internal/lab/stores", "internal/lab/ways", "internal/lab/process", "internal/failover"}

// Limits that keep a file and a function readable.
const (
	maxFile     = 400
	maxFunction = 70
)

// TestTidy enforces the import arrows and the limits.
func TestTidy(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		checkFile(t, filepath.ToSlash(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for key, where := range keys {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/monitoring.md does not say what `%s` is in the log: %s", key, where)
		}
	}
}

// keys are those of the log, with where each is.
var keys = map[string]string{}

func checkFile(t *testing.T, name string) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if to, ours := strings.CutPrefix(imported, module); ours && !allowed(name, to) {
			t.Errorf("%s imports %s: no arrow points there", name, to)
		}
	}
	for _, spec := range file.Imports {
		if imported, _ := strconv.Unquote(spec.Path.Value); strings.HasPrefix(imported, "go.uber.org/fx") && !strings.HasSuffix(path.Dir(name), "fx") {
			t.Errorf("%s imports fx: only packages that are named for it do", name)
		}
	}
	if only, ok := pure[path.Dir(name)]; ok && !strings.HasSuffix(name, "_test.go") {
		checkPure(t, name, file, only)
	}
	if n := set.File(file.Pos()).LineCount(); n > maxFile {
		t.Errorf("%s has %d lines, the limit is %d", name, n, maxFile)
	}
	checkSleeps(t, set, file)
	checkWall(t, set, name, file)
	ast.Inspect(file, func(n ast.Node) bool {
		if !strings.HasSuffix(name, "_test.go") {
			checkNoStore(t, set, n)
		}
		if call, ok := n.(*ast.CallExpr); ok {
			checkKeys(t, set, call)
		}
		if f, ok := n.(*ast.FuncDecl); ok {
			if lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; lines > maxFunction {
				t.Errorf("%s: %s has %d lines, the limit is %d", set.Position(f.Pos()), f.Name.Name, lines, maxFunction)
			}
		}
		return true
	})
}

// checkNoStore refuses a comparison with the name of a store: that is a question to its row in
// package backends.
func checkNoStore(t *testing.T, set *token.FileSet, n ast.Node) {
	var compared []ast.Expr
	switch n := n.(type) {
	case *ast.BinaryExpr:
		compared = []ast.Expr{n.X, n.Y}
	case *ast.CaseClause:
		compared = n.List
	}
	for _, e := range compared {
		if l, ok := e.(*ast.BasicLit); ok && slices.Contains([]string{`"raft"`, `"etcd"`, `"consul"`, `"memory"`}, l.Value) {
			t.Errorf("%s compares with %s: ask the store's row", set.Position(e.Pos()), l.Value)
		}
	}
}

// checkKeys: a key of a log line has no blank in it, for those who search the log.
func checkKeys(t *testing.T, set *token.FileSet, call *ast.CallExpr) {
	how, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	to := how.X
	if s, ok := to.(*ast.SelectorExpr); ok {
		to = s.Sel
	}
	logger, ok := to.(*ast.Ident)
	first, method := map[string]int{"With": 0, "Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3}[how.Sel.Name]
	if !ok || !method || !slices.Contains([]string{"log", "slog", "logger", "Logger"}, logger.Name) {
		return
	}
	for i := first; i < len(call.Args); i += 2 {
		key, ok := call.Args[i].(*ast.BasicLit)
		if !ok {
			continue
		}
		where := set.Position(key.Pos())
		if strings.Contains(key.Value, " ") {
			t.Errorf("%s: the key %s has a blank in it", where, key.Value)
		}
		if !strings.HasSuffix(where.Filename, "_test.go") && !strings.HasPrefix(where.Filename, "examples/") {
			keys[strings.Trim(key.Value, `"`)] = where.String()
		}
	}
}

func checkPure(t *testing.T, name string, file *ast.File, only []string) {
	for _, spec := range file.Imports {
		if imported, _ := strconv.Unquote(spec.Path.Value); !strings.HasPrefix(imported, module) && !slices.Contains(only, imported) {
			t.Errorf("%s imports %s: its package is pure", name, imported)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && !slices.Contains([]string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}, s.Sel.Name) {
				t.Errorf("%s uses time.%s: its package is pure", name, s.Sel.Name)
			}
		}
		return true
	})
}

// checkSleeps has a test that sleeps on the real clock say what it waits for, on the line or the
// one before. In a bubble of testing/synctest no time passes; what is called from one says so.
func checkSleeps(t *testing.T, set *token.FileSet, file *ast.File) {
	name := filepath.ToSlash(set.Position(file.Pos()).Filename)
	if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "internal/lab/") && !strings.HasPrefix(name, "conformance/") {
		return
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	said := map[int]bool{}
	for _, group := range file.Comments {
		from, to := set.Position(group.Pos()), set.Position(group.End())
		said[from.Line] = true
		if strings.TrimSpace(lines[from.Line-1][:from.Column-1]) == "" { // it is about the next line
			said[to.Line+1] = true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if isCall(call, "synctest", "Test") {
			return false
		}
		if where := set.Position(call.Pos()); isCall(call, "time", "Sleep") && !said[where.Line] {
			t.Errorf("%s sleeps, and does not say what it waits for", where)
		}
		return true
	})
}

// wall are the files of the protocol and the stores that look at the time of day, with what for. Whatever else measures
// time does so by a clock that nobody sets.
var wall = map[string]string{
	"coordinator/config.go":                     "virtual time, in which no clock is set",
	"coordinator/internal/clock/clock_other.go": "where no clock counts sleep, the later of two",
	"backends/kv/record.go":                     "when a record was written, for people",
	"backends/kv/operator.go":                   "what an operator wrote, for people",
	"backends/ledger/locker.go":                 "when a command was sent, for people",
	"backends/ledger/operator.go":               "what an operator wrote, for people",
	"backends/kubernetes/lease.go":              "what kubectl shows, for people",
	"backends/raft/backup.go":                   "when a backup was made, for people",
	"backends/raft/status.go":                   "when a snapshot was written, for people",
	"backends/nats/nats.go":                     "a stream's first token, by when the server made it",
	"backends/s3/s3.go":                         "an object's first token, by the server's clock and above every earlier one",
}

var protocol = regexp.MustCompile(`^(lock|coordinator|backends|fencing|state|internal/procgroup)/`)

// checkWall refuses what is a reading of the time of day, and no longer one of the clock that only goes on.
func checkWall(t *testing.T, set *token.FileSet, name string, file *ast.File) {
	if !protocol.MatchString(name) || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "fencing/internal/") || wall[name] != "" {
		return
	}
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, _ := s.X.(*ast.Ident)
		switch of := s.Sel.Name; {
		case slices.Contains([]string{"UTC", "Local", "Unix", "UnixMilli", "UnixMicro", "UnixNano", "CLOCK_REALTIME", "CLOCK_REALTIME_COARSE"}, of),
			x != nil && x.Name == "time" && slices.Contains([]string{"Date", "Parse", "ParseInLocation"}, of):
			t.Errorf("%s uses %s: the time of day can be set, so nothing is decided by it", set.Position(s.Pos()), of)
		}
		return true
	})
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && s.Sel.Name == name
}

func allowed(file, to string) bool {
	if strings.HasSuffix(file, "_test.go") {
		for _, also := range inTests {
			if to == also {
				return true
			}
		}
	}
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if may, ok := arrows[dir]; ok {
			for _, one := range may {
				if to == one {
					return true
				}
			}
			return to == dir
		}
	}
	return path.Dir(file) == "."
}
