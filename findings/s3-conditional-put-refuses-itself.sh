#!/usr/bin/env bash
# A lock by S3's conditional write can be refused by the client's own write.
#
# Guess: PutObject with If-None-Match: * is a compare-and-swap, and 412 says that somebody else
# was first. Where the reply is lost the client cannot know, and says so: such a write is not
# sent again unasked.
# What happens: the AWS SDK for Go and minio-go send it again by themselves. The first one was done, the
# second one is refused, and the caller reads "precondition failed" for an object that is its own.
# So the lock is taken, and its holder believes that another has it.
# For users of understudy: a backend on S3 switches the client's own tries off, and answers a lost reply
# with an error: the caller then reckons with a call that took effect.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/johannesboyne/gofakes3@v1.2.0 -require github.com/aws/aws-sdk-go-v2/service/s3@v1.114.10 \
	-require github.com/minio/minio-go/v7@v7.4.1
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	ctx := context.Background()
	store := gofakes3.New(s3mem.New()).Server()
	var lose atomic.Bool // the reply to the next write
	var writes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "*" {
			store.ServeHTTP(w, r)
			return
		}
		writes.Add(1)
		if !lose.Swap(false) {
			store.ServeHTTP(w, r)
			return
		}
		done := httptest.NewRecorder()
		store.ServeHTTP(done, r)
		fmt.Println("  the server wrote it:", done.Code, "- and the connection ends before the reply")
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		c.Close()
	}))
	defer server.Close()

	// tries is how often a client may send a request; 0: its own default
	sdk := func(tries int) *s3.Client {
		return s3.New(s3.Options{
			Region: "us-east-1", BaseEndpoint: &server.URL, UsePathStyle: true, RetryMaxAttempts: tries,
			Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
		})
	}
	must(sdk(0).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("locks")}))
	puts := map[string]func(tries int, key string) error{
		"aws-sdk-go-v2": func(tries int, key string) error {
			_, err := sdk(tries).PutObject(ctx, &s3.PutObjectInput{
				Bucket: aws.String("locks"), Key: &key, Body: strings.NewReader("mine"), IfNoneMatch: aws.String("*"),
			})
			return err
		},
		"minio-go": func(tries int, key string) error {
			client := must(minio.New(strings.TrimPrefix(server.URL, "http://"), &minio.Options{
				Creds: miniocredentials.NewStaticV4("key", "secret", ""), MaxRetries: tries,
			}))
			var o minio.PutObjectOptions
			o.SetMatchETagExcept("*")
			_, err := client.PutObject(ctx, "locks", key, strings.NewReader("mine"), 4, o)
			return err
		},
	}
	for _, name := range []string{"aws-sdk-go-v2", "minio-go"} {
		for _, tries := range []int{0, 1} {
			writes.Store(0)
			lose.Store(true)
			err := puts[name](tries, fmt.Sprint(name, tries))
			text := fmt.Sprint(err)
			refused := strings.Contains(text, "PreconditionFailed") || strings.Contains(text, "already exists")
			fmt.Printf("%s, tries %d: %d writes; refused: %t: ...%s\n", name, tries, writes.Load(), refused, text[max(0, len(text)-60):])
		}
	}
}
GO
go mod tidy 2> /dev/null
go list -m github.com/aws/aws-sdk-go-v2/service/s3 github.com/minio/minio-go/v7 github.com/johannesboyne/gofakes3
out=$(go run .)
echo "$out"
(($(grep -c "tries 0: 2 writes; refused: true" <<< "$out") == 2 && $(grep -c "tries 1: 1 writes; refused: false" <<< "$out") == 2)) ||
	{ echo "CHANGED"; exit 1; }
echo "as found: each was refused by its own write"
