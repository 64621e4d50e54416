package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-ha/understudy/lock"
)

// MaxRoles is how many roles one process may have a command for.
const MaxRoles = 256

// roleKeys are the settings that each of several roles may have; the key of the same name is the
// default for all of them.
func roleKeys() []Key {
	k := index()
	return complete([]Key{
		{Name: "name", Usage: "of the role", to: func(*Config) any { return new(string) }},
		{Name: "command", Usage: "the program and its arguments; a text is run by a shell", to: func(*Config) any { return new([]string) }},
		k["priority"], k["activeStandby.enabled"], k["onLoss"], k["onExit"], k["warm"], k["onActive"], k["onStandby"],
	})
}

// roles takes in the key roles: from a file as nodes with their lines, from elsewhere as the same
// in one text.
func (r *reader) roles() {
	v := r.config.values["roles"]
	if len(v.parts) == 0 {
		return
	}
	f := &file{path: r.file.path, keys: map[string]Key{}, roles: r.file.roles, broken: map[string]int{}}
	for _, k := range roleKeys() {
		f.keys[k.Name] = k
	}
	if v.rank != byFile {
		f.path = v.where
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(v.text()), &doc); err != nil || len(doc.Content) == 0 {
			r.bad(fmt.Errorf("%s: %q is not a list of roles; write [{name: NAME, command: [PROGRAM, ARG]}]", v.where, v.text()))
			return
		}
		f.roles = doc.Content[0]
	}
	if f.roles.Kind == yaml.SequenceNode {
		seen := map[string]int{}
		for _, n := range f.roles.Content {
			one := r.role(f, resolve(n))
			r.config.Roles = append(r.config.Roles, one)
			line, before := f.lines["name"], seen[one.Name]
			seen[one.Name] = line
			if one.Name == "" {
				continue // said already
			}
			if err := lock.CheckName("", one.Name); err != nil {
				f.bad(line, "name", "%w", err)
			}
			if before != 0 {
				f.bad(line, "name", "%q is the name of the role in line %d, too; give each role one of its own", one.Name, before)
			}
		}
	} else {
		f.bad(f.roles.Line, "roles", "must be a list, with a role's name and command in each entry")
	}
	r.config.bad["roles"] = len(f.bads) > 0
	r.file.bads = append(r.file.bads, f.bads...)
}

// role takes in one of several. What it leaves out is as for the process, except OnExit: the end
// of one command must not end the others.
func (r *reader) role(f *file, n *yaml.Node) Role {
	one := Role{
		Priority: r.config.priority, ActiveStandby: r.config.standby, OnLoss: r.config.onLoss, OnExit: r.config.onExit,
		OnActive: r.config.onActive, OnStandby: r.config.onStandby, Warm: r.config.warm,
	}
	if one.OnExit == "" {
		one.OnExit = "restart"
	}
	given := map[string][]string{}
	f.lines = map[string]int{}
	before := len(f.bads)
	f.section("", n, given)
	to := map[string]any{
		"name": &one.Name, "command": &one.Command, "priority": &one.Priority,
		"activeStandby.enabled": &one.ActiveStandby, "onLoss": &one.OnLoss, "onExit": &one.OnExit, "warm": &one.Warm,
		"onActive": &one.OnActive, "onStandby": &one.OnStandby,
	}
	for _, k := range roleKeys() {
		parts, there := given[k.Name]
		if !there {
			continue
		}
		if k.Name == "command" { // unchanged: commas are part of it
			one.Command = parts
			continue
		}
		err := errors.Join(OneOf(parts[0], k.OneOf...), set(to[k.Name], value{parts: parts}))
		if err != nil {
			f.bad(f.lines[k.Name], k.Name, "%w", err)
		}
	}
	if one.Name == "" && (!named(n) || len(f.bads) == before) {
		f.bad(n.Line, "roles", "a role has no name; write name: NAME")
	}
	if line, there := f.lines["command"]; there && len(one.Command) == 0 && len(f.bads) == before {
		f.bad(line, "command", "must be a program and its arguments, such as [./billing, --port, \"80\"], or a text for a shell")
	}
	return one
}

// named reports whether a role is a section with a name, or with what was meant as one.
func named(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key == "name" || key == "role" {
			return true
		}
	}
	return n.Kind != yaml.MappingNode
}

// formatRoles writes roles as a file may have them, in one line.
func formatRoles(roles []Role) string {
	if len(roles) == 0 {
		return ""
	}
	type standby struct {
		Enabled bool `json:"enabled"`
	}
	type row struct {
		Name          string   `json:"name"`
		Command       []string `json:"command,omitempty"`
		Priority      int      `json:"priority"`
		ActiveStandby standby  `json:"activeStandby"`
		OnLoss        string   `json:"onLoss"`
		OnExit        string   `json:"onExit"`
		Warm          string   `json:"warm"`
		OnActive      string   `json:"onActive,omitempty"`
		OnStandby     string   `json:"onStandby,omitempty"`
	}
	var all []row
	for _, r := range roles {
		all = append(all, row{r.Name, r.Command, r.Priority, standby{r.ActiveStandby}, r.OnLoss, r.OnExit, r.Warm, r.OnActive, r.OnStandby})
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(all) // nothing in it fails
	return strings.TrimSpace(b.String())
}
