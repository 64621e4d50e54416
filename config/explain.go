package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// Explain returns err in terms of the settings as they were given. An error about a field of the
// store's Config, or of Coordinator, names the flag, the variable or the line of the file that set
// it, as does one that says that another process has this ID. The chain of err stays.
func (c *Config) Explain(err error) error {
	var all []error
	for _, e := range leaves(err) {
		all = append(all, c.explain(e))
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

func (c *Config) explain(err error) error {
	var field *lock.FieldError
	var done *explained
	var held *lock.HeldError
	switch {
	case errors.As(err, &done):
		return err
	case errors.As(err, &held) && held.Token == 0:
		return &explained{fmt.Sprintf("%s: %v; stop that process, or give this one an ID of its own", c.where("ID"), err), err}
	case !errors.As(err, &field):
		return err
	}
	text, found, all := err.Error(), false, fieldsIn(err) // each peer of a group may have one
	if !slices.Contains(all, field) {
		all = append(all, field)
	}
	for _, f := range all { // each once: what it is called now may end with what it was called
		if strings.Contains(text, f.Error()) {
			text, found = strings.Replace(text, f.Error(), f.Say(c.where), 1), true
		}
	}
	if found {
		return &explained{text, err}
	}
	var names []string // somebody has reworded it
	for _, f := range field.Fields {
		names = append(names, f+" is "+c.where(f))
	}
	return &explained{fmt.Sprintf("%v (%s)", err, strings.Join(names, ", ")), err}
}

// fieldsIn are the errors about fields in the tree of err.
func fieldsIn(err error) (all []*lock.FieldError) {
	switch e := err.(type) { //nolint:errorlint // the whole tree is looked at
	case *lock.FieldError:
		return []*lock.FieldError{e}
	case interface{ Unwrap() error }:
		return fieldsIn(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			all = append(all, fieldsIn(one)...)
		}
	}
	return all
}

// An explained error says more than the error that it wraps.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// where names what set a field or a key, or can set it.
func (c *Config) where(field string) string {
	if v, ok := c.values[cmp.Or(c.keyOf(field), field)]; ok {
		return v.where
	}
	return field
}

// keyOf is the key whose value goes to a field of the store's Config or of the coordinator's. If
// both have the field, it is the store's if the store has a key for it, as for Address, and else
// the coordinator's, which passes it on, as for ID.
func (c *Config) keyOf(field string) string {
	for _, config := range []any{c.Store.Row().Settings(&c.Store), &c.Coordinator} {
		f := reflect.ValueOf(config).Elem().FieldByName(field)
		for _, k := range Keys() {
			if f.IsValid() && addressOf(k.to(c)) == f.Addr().Pointer() {
				return k.Name
			}
		}
	}
	return ""
}

func addressOf(to any) uintptr {
	if to, ok := to.(off); ok {
		return reflect.ValueOf(to.to).Pointer()
	}
	return reflect.ValueOf(to).Pointer()
}

// news are the errors about keys that have no error yet.
func (c *Config) news(err error) error {
	return errors.Join(slices.DeleteFunc(leaves(err), func(e error) bool {
		var field *lock.FieldError
		return errors.As(e, &field) && slices.ContainsFunc(field.Fields, func(f string) bool { return c.bad[c.keyOf(f)] })
	})...)
}

// leaves are the errors that were joined.
func leaves(err error) (all []error) {
	if err == nil {
		return nil
	}
	if reflect.TypeOf(err) != reflect.TypeOf(errors.Join(err)) {
		return []error{err}
	}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

// place puts the place before each error, instead of the field.
func place(where string, err error) error {
	var all []error
	for _, e := range leaves(err) {
		if field, ok := e.(*lock.FieldError); ok { //nolint:errorlint // it is a leaf
			e = field.Err
		}
		all = append(all, fmt.Errorf("%s: %w", where, e))
	}
	return errors.Join(all...)
}
