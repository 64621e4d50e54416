package config

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/admin"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// Listen shows the process where the settings say, from before its store is opened on:
// Coordinator.Monitor is what is shown. nil: nowhere.
func (c *Config) Listen() (*admin.Server, error) {
	if c.Coordinator.Monitor == nil {
		return nil, nil
	}
	s, err := admin.Listen(c.Admin, c.Coordinator.Monitor)
	return s, c.explainAdmin(err)
}

// completeAdmin puts in what follows from other settings, and says what is wrong.
func (c *Config) completeAdmin() error {
	if c.Admin.Listen != "" || c.Admin.AgentListen != "" {
		c.Coordinator.Monitor = new(coordinator.Monitor)
		c.Admin.Logger, c.Admin.Certificates = c.Coordinator.Logger, c.storeCertificates
	}
	return c.explainAdmin(c.Admin.Validate())
}

// explainAdmin is Explain for what package admin says of its settings, some of which are named
// as the store's.
func (c *Config) explainAdmin(err error) error {
	var all []error
	for _, e := range leaves(err) {
		var field *lock.FieldError
		if errors.As(e, &field) {
			e = &explained{field.Say(func(name string) string { return c.values["admin."+lower(name)].where }), e}
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

// storeCertificates are the ends of those for the store, by file.
func (c *Config) storeCertificates() map[string]time.Time {
	var files certs.Files
	for _, k := range Keys() {
		for name, to := range map[string]*string{"caFile": &files.CA, "certFile": &files.Cert, "keyFile": &files.Key} {
			if k.Store == c.Store.Backend && k.Name == k.Store+"."+name {
				*to = format(k.to(c))
			}
		}
	}
	return files.Ends()
}
