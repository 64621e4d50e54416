package config

import (
	"strconv"
	"strings"
)

// Schema is the JSON schema of a file of settings, for editors.
func Schema() map[string]any {
	s := object(Keys())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "The settings of understudy"
	return s
}

// object is a section's schema.
func object(keys []Key) map[string]any {
	properties := map[string]any{}
	under := map[string][]Key{}
	for _, k := range keys {
		section, rest, nested := strings.Cut(k.Name, ".")
		if !nested {
			properties[k.Name] = schemaOf(k)
			continue
		}
		k.Name = rest
		under[section] = append(under[section], k)
	}
	for section, keys := range under {
		properties[section] = object(keys)
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func schemaOf(k Key) map[string]any {
	texts := map[string]any{"type": "string"}
	s := map[string]any{"description": k.Usage}
	switch k.Type() {
	case "bool":
		s["type"] = "boolean"
		if k.Default != "" {
			s["default"] = k.Default == "true"
		}
		return s
	case "int":
		s["type"] = "integer"
		if n, err := strconv.Atoi(k.Default); err == nil {
			s["default"] = n
		}
		return s
	case "duration":
		s["type"], s["pattern"] = "string", `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
		if _, zero := k.to(new(Config)).(off); zero {
			s["type"], s["pattern"] = []string{"string", "integer"}, `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
			s["maximum"], s["minimum"] = 0, 0
		}
	case "list":
		s["type"], s["items"] = []string{"string", "array"}, texts
	case "map":
		s["type"], s["items"] = []string{"string", "array", "object"}, texts
		s["additionalProperties"] = map[string]any{"type": []string{"string", "number", "boolean"}}
	case "roles":
		one := object(roleKeys())
		one["required"] = []string{"name"}
		s["type"], s["items"] = "array", one
	default:
		s["type"] = "string"
	}
	if k.OneOf != nil {
		s["enum"] = k.OneOf
	}
	if k.Default != "" {
		s["default"] = k.Default
	}
	return s
}
