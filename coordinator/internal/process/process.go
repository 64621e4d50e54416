package process

import "errors"

// ErrNoProof means that nothing would be proved by a lock file.
var ErrNoProof = errors.New("it proves nothing")
