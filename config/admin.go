package config

import (
	"errors"
	"regexp"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/admin"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// Listen shows the process at the configured addresses, even before its store is opened. It shows
// Coordinator.Monitor. nil: no address is configured.
func (c *Config) Listen() (*admin.Server, error) {
	if c.Coordinator.Monitor == nil {
		return nil, nil
	}
	s, err := admin.Listen(c.Admin, c.Coordinator.Monitor)
	return s, c.explainAdmin(err)
}

// completeAdmin fills in what follows from other settings, and says what is wrong.
func (c *Config) completeAdmin() error {
	if c.Admin.Listen != "" || c.Admin.AgentListen != "" {
		c.Coordinator.Monitor = new(coordinator.Monitor)
		ends := sync.OnceValue(func() func() map[string]time.Time { return c.storeFiles().Ends() })
		c.Admin.Logger, c.Admin.Certificates = c.Coordinator.Logger, func() map[string]time.Time { return ends()() }
	}
	return c.explainAdmin(c.Admin.Validate())
}

// adminField is a field that an error of package admin names as a way out.
var adminField = regexp.MustCompile(`\b(TokenFile|CAFile|Open)\b`)

// explainAdmin is Explain for package admin's errors about its settings, some of which have the
// same names as the store's.
func (c *Config) explainAdmin(err error) error {
	var all []error
	for _, e := range leaves(err) {
		var field *lock.FieldError
		if errors.As(e, &field) {
			where := func(name string) string { return c.values["admin."+lower(name)].where }
			text := lock.FieldError{Fields: field.Fields, Err: errors.New(adminField.ReplaceAllStringFunc(field.Err.Error(), where))}
			e = &explained{text.Say(where), e}
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

// storeFiles are those of the store's certificates.
func (c *Config) storeFiles() (files certs.Files) {
	for _, k := range Keys() {
		for name, to := range map[string]*string{"caFile": &files.CA, "certFile": &files.Cert, "keyFile": &files.Key} {
			if k.Store == c.Store.Backend && k.Name == k.Store+"."+name {
				*to = format(k.to(c))
			}
		}
	}
	return files
}
