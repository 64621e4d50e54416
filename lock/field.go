package lock

import "strings"

// A FieldError says what is wrong with settings: which fields of a Config, and what to write
// instead. A program that read them from elsewhere puts its own names in place of the fields, as
// package config does with flags, variables and lines of a file.
type FieldError struct {
	Fields []string // as the Config spells them
	Err    error
}

// InFields returns err as a FieldError. InFields(nil) is nil.
func InFields(err error, fields ...string) error {
	if err == nil {
		return nil
	}
	return &FieldError{fields, err}
}

// Error names the fields as the Config spells them.
func (e *FieldError) Error() string { return e.Say(func(field string) string { return field }) }

// Say is Error with other names for the fields.
func (e *FieldError) Say(name func(field string) string) string {
	var names []string
	for _, f := range e.Fields {
		names = append(names, name(f))
	}
	all := names[len(names)-1]
	if before := names[:len(names)-1]; len(before) > 0 {
		all = strings.Join(before, ", ") + " and " + all
	}
	return all + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }
