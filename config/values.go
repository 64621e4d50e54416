package config

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/raft"
)

// A value is what a key was set to, before it is understood.
type value struct {
	parts  []string // the entries of a list; otherwise one
	rank   rank
	origin string // for people
	where  string // put before an error about it
}

func (v value) text() string { return strings.Join(v.parts, ",") }

// A rank orders the sources of values: the greatest wins.
type rank int

const (
	byDefault rank = iota
	byOther        // another tool's variable
	byFile
	byVariable
	byFlag
)

// off is a duration that is given as 0 for never, and stored as -1.
type off struct{ to *time.Duration }

// set parses a value, and puts it where it belongs.
func set(to any, v value) error {
	text := v.text()
	var err error
	switch to := to.(type) {
	case *string:
		*to = text
	case *bool:
		if *to, err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("%q must be true or false", text)
		}
	case *int:
		if *to, err = strconv.Atoi(text); err != nil {
			if errors.Is(err, strconv.ErrRange) {
				return fmt.Errorf("%q is out of range; write a smaller number", text)
			}
			return fmt.Errorf("%q must be a whole number", text)
		}
	case *time.Duration:
		*to, err = ParseDuration(text)
	case off:
		switch d, none := time.ParseDuration(text); {
		case none == nil && d == 0:
			*to.to = -1
		case none == nil && d < 0:
			err = fmt.Errorf("%q must not be less than 0", text)
		default:
			*to.to, err = ParseDuration(text)
		}
	case *[]string:
		*to = etcd.ParseEndpoints(text)
	case *map[string]string:
		*to, err = pairs(v.parts)
	case *[]raft.Peer:
		if text == "" {
			return nil
		}
		if *to, err = raft.ParsePeers(text); err != nil {
			*to = nil
		}
	case *[]Role:
		return nil // see readRoles
	default:
		panic(fmt.Sprintf("no value can be put into %T", to))
	}
	return err
}

// format is the opposite of set.
func format(from any) string {
	switch from := from.(type) {
	case *string:
		return *from
	case *bool:
		return strconv.FormatBool(*from)
	case *int:
		return strconv.Itoa(*from)
	case *time.Duration:
		return short(*from)
	case off:
		if *from.to < 0 {
			return "0"
		}
		return short(*from.to)
	case *[]string:
		return strings.Join(*from, ",")
	case *map[string]string:
		var all []string
		for _, k := range slices.Sorted(maps.Keys(*from)) {
			all = append(all, quote(k+"="+(*from)[k]))
		}
		return strings.Join(all, ",")
	case *[]raft.Peer:
		var all []string
		for _, p := range *from {
			all = append(all, p.String())
		}
		return strings.Join(all, ",")
	case *[]Role:
		return formatRoles(*from)
	}
	panic(fmt.Sprintf("no value can be made of %T", from))
}

func short(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// unitless is a number that lacks a unit.
var unitless = regexp.MustCompile(`^[0-9.]+$`)

// ParseDuration reads a duration that is more than 0, such as 15s or 1m30s.
func ParseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case unitless.MatchString(text) && strings.Trim(text, "0.") != "":
		return 0, fmt.Errorf("%q has no unit; write %ss", text, text)
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration; write it as 15s or 1m30s", text)
	case d <= 0:
		return 0, fmt.Errorf("%q must be more than 0", text)
	}
	return d, nil
}

// pairs reads KEY=VALUE, several separated by commas; one with a comma in it is quoted as in a
// CSV file.
func pairs(parts []string) (map[string]string, error) {
	all := map[string]string{}
	for _, part := range parts {
		if part == "" {
			continue
		}
		record := []string{part}
		if strings.Count(part, "=") > 1 || strings.HasPrefix(part, `"`) {
			var err error
			if record, err = csv.NewReader(strings.NewReader(part)).Read(); err != nil {
				return nil, fmt.Errorf("%q is not a list of labels; write KEY=VALUE,KEY=VALUE", part)
			}
		}
		for _, pair := range record {
			k, v, ok := strings.Cut(pair, "=")
			if !ok || k == "" {
				return nil, fmt.Errorf("%q is not a label; write KEY=VALUE", pair)
			}
			if before, twice := all[k]; twice && before != v {
				return nil, fmt.Errorf("%q: the label %s is %s already; give it one value", pair, k, before)
			}
			all[k] = v
		}
	}
	return all, nil
}

// OneOf says what is wrong with a value that must be one of all; without any, every value is
// good.
func OneOf(value string, all ...string) error {
	if len(all) == 0 || slices.Contains(all, value) {
		return nil
	}
	return fmt.Errorf("%q must be one of %s%s", value, strings.Join(all, ", "), DidYouMean(value, all))
}

// DidYouMean names the known word with the most similar spelling, if any: it is "" or `, did you
// mean "WORD"?`.
func DidYouMean(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		d := levenshtein.Distance(plain(word), plain(k), nil)
		if d == 0 || d < least && d < len(plain(k)) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// plain is a word without what people write in different ways.
func plain(word string) string {
	return strings.ToLower(strings.NewReplacer(".", "", "-", "", "_", "").Replace(word))
}
