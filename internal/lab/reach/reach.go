// Package reach names started servers in settings, as their users do.
package reach

import (
	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/s3"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// Config is a store on servers that servers.Start has started by its name, without options.
func Config(store string, c *servers.Cluster) backends.Config {
	config, first := backends.Config{Backend: store}, c.Members[0]
	switch store {
	case "kubernetes":
		config.Kubernetes.Kubeconfig = first.Kubeconfig() // it names the server
		return config
	case "nats":
		config.NATS.MayForget = len(c.Members) == 1 // a bucket there has one replica
	case "s3":
		config.S3 = s3.Config{Endpoint: "http://" + first.Addr(), Bucket: servers.Bucket, CredentialsFile: first.Credentials()}
	}
	config.Row().Servers(&config).Use(c.Addresses())
	return config
}
