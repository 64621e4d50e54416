#!/usr/bin/env bash
# gofrs/flock says that it holds a shared lock which its own TryLock gave away.
#
# Guess: TryLock on a file of which one has the shared lock makes it exclusive, or returns false and
# all is as before; RLocked tells whether the lock is held.
# What happens: on Linux a conversion first removes the lock that is there. Where another one has a
# shared lock, too, TryLock returns false, and nothing is held any more, while RLocked says true.
# Another process takes the exclusive lock, and two believe that they have the file.
# For users of understudy: a lock file is locked once, exclusively, and never converted.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/gofrs/flock@v0.13.2
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/gofrs/flock"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	one, other := flock.New(os.Args[1]), flock.New(os.Args[1])
	fmt.Println("both take the shared lock:", must(one.TryRLock()), must(other.TryRLock()))
	process := func(when string) {
		err := exec.Command("flock", "--nonblock", os.Args[1], "true").Run()
		fmt.Printf("%s, one says that it is locked: %t; another process gets the exclusive lock: %t\n", when, one.RLocked(), err == nil)
	}
	process("before")
	fmt.Println("one tries the exclusive lock:", must(one.TryLock()))
	must(0, other.Unlock())
	process("after")
}
GO
go mod tidy 2> /dev/null
go list -m github.com/gofrs/flock
echo "Linux $(uname -r), $(flock --version)"
go build -o finding .
out=$(timeout 60 ./finding "$dir/lock")
echo "$out"
for want in "both take the shared lock: true true" "before, one says that it is locked: true; another process gets the exclusive lock: false" \
	"one tries the exclusive lock: false" "after, one says that it is locked: true; another process gets the exclusive lock: true"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: a failed TryLock gives the shared lock away"
