package docs

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/cluster"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// managers is the token that may do everything on Consul.
const managers = "5f1ccbd2-6a5d-4e0f-8b0f-2f6c1f6f1c11"

// serve begins a server, and has the shell know where it is.
func (r *runner) serve(what string) {
	switch what {
	case "ports":
		at, err := servers.Addresses(6)
		lab.Must(r.t, err)
		r.leave(fmt.Sprintf("export A=%s B=%s C=%s D=%s E=%s F=%s", at[0], at[1], at[2], at[3], at[4], at[5]))
	case "etcd":
		c := serve.Start(r.t, what, 3, servers.Options{})
		r.leave("export ETCD=" + strings.Join(addresses(c), ","))
	case "consul":
		c := serve.Start(r.t, what, 1, servers.Options{Token: managers, Config: `acl {
			enabled = true
			default_policy = "deny"
			tokens { initial_management = "` + managers + `" }
		}`})
		r.leave("export CONSUL=" + addresses(c)[0] + " MANAGERS=" + managers)
	case "postgres":
		c := serve.Start(r.t, what, 1, servers.Options{})
		host, port, _ := strings.Cut(addresses(c)[0], ":")
		r.leave("export POSTGRES=" + addresses(c)[0] + " PGHOST=" + host + " PGPORT=" + port + " PGUSER=postgres")
	case "nats":
		c := serve.Start(r.t, what, 3, servers.Options{})
		r.leave("export NATS=nats://" + strings.Join(addresses(c), ","))
	case "kubernetes":
		m := serve.Start(r.t, what, 1, servers.Options{}).Members[0]
		host, port, _ := strings.Cut(m.Addr(), ":")
		r.leave("export KUBECONFIG=" + m.Kubeconfig() + " KUBERNETES_CA=" + m.CAFile() + " KUBERNETES_SERVICE_HOST=" + host + " KUBERNETES_SERVICE_PORT=" + port)
	case "cluster":
		c := cluster.Start(r.t, "..", 2)
		r.leave("export KUBECONFIG=" + c.API().Kubeconfig() + " PATH=" + c.Dir + "/tools:$PATH IMAGE=" + c.Image("understudy") + " WORK=" + c.Image("work"))
	case "s3":
		m := serve.Start(r.t, what, 1, servers.Options{}).Members[0]
		r.leave("export S3=http://" + m.Addr() + " MANAGER=" + m.Credentials() + " USER=" + m.UserCredentials() + " BUCKET=" + servers.Bucket)
	case "guarded":
		r.guarded()
	default:
		r.t.Fatalf("server %s: none is known", what)
	}
}

func addresses(c *servers.Cluster) (all []string) {
	for _, m := range c.Members {
		all = append(all, m.Addr())
	}
	return all
}

// guarded begins an HTTPS server that refuses stale tokens of the role billing, and echoes
// what it accepts.
func (r *runner) guarded() {
	gate := fencing.NewGate(&fencing.Memory{}, "billing")
	s := httptest.NewTLSServer(fencinghttp.Handler(gate, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %s %s %v", req.Method, req.URL.Path, body, err)
	})))
	r.t.Cleanup(s.Close)
	file := filepath.Join(r.dir, "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	lab.Must(r.t, os.WriteFile(file, text, 0o600))
	r.leave("export CURL_CA_BUNDLE=" + file + " GUARDED=" + s.URL)
}
