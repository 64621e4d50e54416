//go:build linux

package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// TestAnswerThatWasCut: of a short answer of which a part was written, all is repeated, and not the rest alone; of
// a long one nothing is.
func TestAnswerThatWasCut(t *testing.T) {
	for name, test := range map[string]struct{ answer, repeats string }{
		"short": {"role billing\nactive a, token 7\n", "\nrole billing\nactive a, token 7\n"},
		"long":  {strings.Repeat("role billing\n", 1000), "file too large\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out := nearlyFull(t)
			root := &cobra.Command{Use: "understudy"}
			root.AddCommand(&cobra.Command{Use: "ask", RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := cmd.OutOrStdout().Write([]byte(test.answer))
				return err
			}})
			var errs strings.Builder
			if code := Execute(context.Background(), root, []string{"ask"}, out, &errs); code != Unwritten || !strings.HasSuffix(errs.String(), test.repeats) {
				t.Errorf("exit code %d\n%s", code, errs.String())
			}
		})
	}
}

// pieces counts the writes.
type pieces int

func (n *pieces) Write(p []byte) (int, error) {
	*n++
	return len(p), nil
}

// TestReaderThatHasEnough: help is written in one piece, and a pipe that its reader has closed does not count as a failure.
func TestReaderThatHasEnough(t *testing.T) {
	root := func() *cobra.Command {
		root := &cobra.Command{Use: "understudy"}
		root.AddCommand(&cobra.Command{Use: "ask", RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write([]byte("role billing\n"))
			return err
		}})
		return root
	}
	for _, args := range [][]string{{"ask", "--help"}, {"help", "ask"}, {"--help"}, {"help"}} {
		var n pieces
		if code := Execute(t.Context(), root(), args, &n, io.Discard); code != 0 || n != 1 {
			t.Errorf("%q: code %d, %d writes", args, code, n)
		}
	}
	for _, args := range [][]string{{"ask", "--help"}, {"ask"}} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = reader.Close()
		var errs strings.Builder
		if code := Execute(t.Context(), root(), args, writer, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%q: code %d, %s", args, code, &errs)
		}
		_ = writer.Close()
	}
}

// nearlyFull is a file with room for half a line: the process may not write files beyond that length.
func nearlyFull(t *testing.T) *os.File {
	const most = 64 << 10
	f, err := os.Create(filepath.Join(t.TempDir(), "answer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(make([]byte, most-6)); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	})
	return f
}
