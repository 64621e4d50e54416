#!/usr/bin/env bash
# A lock by S3's conditional write can be refused by the client's own write.
#
# Guess: PutObject with If-None-Match: * is a compare-and-swap, and 412 says that somebody else
# was first. Where the reply is lost the client cannot know, and says so: such a write is not
# sent again unasked.
# What happens: the AWS SDK for Go and minio-go send it again by themselves. The first one was done, the
# second one is refused, and the caller reads "precondition failed" for an object that is its own.
# Nobody believes to hold the lock, and nobody can take it.
# For users of understudy: a backend on S3 writes its session into the object and reads it after 412.
# understudy counts a call without an answer as one that may have taken the role.
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

	sdk := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	})
	must(sdk.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("locks")}))
	other := must(minio.New(strings.TrimPrefix(server.URL, "http://"), &minio.Options{Creds: miniocredentials.NewStaticV4("key", "secret", "")}))
	puts := map[string]func(key string) error{
		"aws-sdk-go-v2": func(key string) error {
			_, err := sdk.PutObject(ctx, &s3.PutObjectInput{
				Bucket: aws.String("locks"), Key: &key, Body: strings.NewReader("mine"), IfNoneMatch: aws.String("*"),
			})
			return err
		},
		"minio-go": func(key string) error {
			var o minio.PutObjectOptions
			o.SetMatchETagExcept("*")
			_, err := other.PutObject(ctx, "locks", key, strings.NewReader("mine"), 4, o)
			return err
		},
	}
	for _, name := range []string{"aws-sdk-go-v2", "minio-go"} {
		fmt.Println(name)
		writes.Store(0)
		lose.Store(true)
		err := puts[name](name)
		text := fmt.Sprint(err)
		refused := strings.Contains(text, "PreconditionFailed") || strings.Contains(text, "already exists")
		fmt.Printf("  one call, %d writes; refused: %t: %s\n", writes.Load(), refused, text[max(0, len(text)-60):])
	}
}
GO
go mod tidy 2> /dev/null
go list -m github.com/aws/aws-sdk-go-v2/service/s3 github.com/minio/minio-go/v7 github.com/johannesboyne/gofakes3
out=$(go run .)
echo "$out"
(($(grep -c "one call, 2 writes; refused: true" <<< "$out") == 2)) || { echo "CHANGED"; exit 1; }
echo "as found: each was refused by its own write"
