#!/usr/bin/env bash
# bbolt writes its own logger into the log, with every field of it.
#
# Guess: a logger that is given to bbolt.Options gets lines about the database, and a small
# struct with value receivers is as good a logger as a pointer.
# What happens: Open logs its options, the logger among them, by %p. A pointer prints as an
# address; a struct prints as %!p(main.logger={...}), with what stands in its fields.
# For users of understudy: bbolt's lines go to the log at Debug, without its options.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require go.etcd.io/bbolt@v1.5.0
cat > main.go <<'GO'
package main

import (
	"fmt"

	bolt "go.etcd.io/bbolt"
)

type logger struct{ tenant string }

func (l logger) say(text string)             { fmt.Println(text) }
func (l logger) Debug(a ...any)              {}
func (l logger) Debugf(f string, a ...any)   {}
func (l logger) Info(a ...any)               { l.say(fmt.Sprint(a...)) }
func (l logger) Infof(f string, a ...any)    { l.say(fmt.Sprintf(f, a...)) }
func (l logger) Warning(a ...any)            { l.say(fmt.Sprint(a...)) }
func (l logger) Warningf(f string, a ...any) { l.say(fmt.Sprintf(f, a...)) }
func (l logger) Error(a ...any)              { l.say(fmt.Sprint(a...)) }
func (l logger) Errorf(f string, a ...any)   { l.say(fmt.Sprintf(f, a...)) }
func (l logger) Fatal(a ...any)              { l.say(fmt.Sprint(a...)) }
func (l logger) Fatalf(f string, a ...any)   { l.say(fmt.Sprintf(f, a...)) }
func (l logger) Panic(a ...any)              { l.say(fmt.Sprint(a...)) }
func (l logger) Panicf(f string, a ...any)   { l.say(fmt.Sprintf(f, a...)) }

func main() {
	options := *bolt.DefaultOptions
	options.Logger = logger{tenant: "of-the-caller"}
	db, err := bolt.Open("x.db", 0o600, &options)
	if err != nil {
		panic(err)
	}
	if err := db.Close(); err != nil {
		panic(err)
	}
}
GO
go mod tidy 2> /dev/null
go list -m go.etcd.io/bbolt
out=$(go run .)
echo "$out"
grep -q 'Logger: %!p(main.logger={of-the-caller})' <<< "$out" || { echo "CHANGED"; exit 1; }
echo "as found: the logger's fields stand in the line"
