package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

const (
	maxAbout = 4 << 10
	patience = 5 * time.Second // how long a client is kept waiting
)

var (
	names = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	keys  = regexp.MustCompile(`^[!-~]{1,64}$`)
	says  = map[int]string{http.StatusNotFound: "there is no such collection or partition", http.StatusConflict: "it is there already"}
)

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/collections/{collection}", "/collections/{collection}/partitions/{partition}"} {
		mux.HandleFunc("PUT "+path, s.write)
		mux.HandleFunc("DELETE "+path, s.write)
		mux.HandleFunc("GET "+path, s.read)
	}
	mux.HandleFunc("GET /collections", s.read)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, fmt.Sprintf("%s %.80q: ask by GET, PUT or DELETE for /collections/NAME or /collections/NAME/partitions/NAME, or by GET for /collections", r.Method, r.URL.Path), http.StatusNotFound)
	})
	return mux
}

// path is COLLECTION, or COLLECTION PARTITION, or nothing.
func path(r *http.Request) []string {
	return slices.DeleteFunc([]string{r.PathValue("collection"), r.PathValue("partition")}, func(name string) bool { return name == "" })
}

// write appends what the client asks for, and says what came of it.
func (s *server) write(w http.ResponseWriter, r *http.Request) {
	t := *s.term.Load()
	c := command{Key: r.Header.Get("Idempotency-Key"), Path: path(r), Drop: r.Method == http.MethodDelete, Token: t.Token}
	if status, err := c.read(http.MaxBytesReader(w, r.Body, maxAbout)); err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	var o outcome
	err := s.log.Append(ctx, t, encode(c))
	if err == nil {
		_, _ = s.log.Read(func(m *meta) { o = m.Outcomes[c.Key] }) // if it fails nobody knows
	}
	switch {
	case errors.Is(err, fencing.ErrStale):
		active := *s.active.Load()
		w.Header().Set("Active", active)
		http.Error(w, fmt.Sprintf("not active; the active was last heard of at %q", active), http.StatusServiceUnavailable)
	case errors.Is(err, lock.ErrPermanent): // the log is full
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	case err != nil && ctx.Err() != nil && !errors.Is(err, state.ErrUnknown): // it was never sent
		http.Error(w, "not done: "+err.Error(), http.StatusServiceUnavailable)
	case err != nil || o.Of == "": // or what came of it was forgotten before it was read
		http.Error(w, "nobody knows whether it was done: ask again with the same Idempotency-Key", http.StatusGatewayTimeout)
	case o.Of != c.sum():
		http.Error(w, fmt.Sprintf("Idempotency-Key %q was used for something else: draw a new one for each change", c.Key), http.StatusUnprocessableEntity)
	case says[o.Status] != "":
		http.Error(w, says[o.Status], o.Status)
	default:
		show(w, o.Status, encode(entry{ID: o.ID, Token: o.Token, About: c.About}))
	}
}

// read reads the body of a command, and says what is wrong with it, and with which status.
func (c *command) read(body io.Reader) (status int, err error) {
	for _, name := range c.Path {
		if !names.MatchString(name) {
			return http.StatusBadRequest, fmt.Errorf("name %.20q has %d bytes: write 1 to 255 letters, digits and _, and no digit first", name, len(name))
		}
	}
	if !keys.MatchString(c.Key) {
		return http.StatusBadRequest, fmt.Errorf("Idempotency-Key has %d bytes: draw one of 1 to 64 letters and digits for each change, and repeat it with each retry", len(c.Key))
	}
	text, err := io.ReadAll(body)
	c.About = string(text)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("body has more than %d bytes, the limit: keep less with an entry", maxAbout)
	}
	return http.StatusBadRequest, err
}

// read shows what there is. Age says how old that may be, in seconds: 0 is linearizable.
func (s *server) read(w http.ResponseWriter, r *http.Request) {
	var text []byte
	age, err := s.log.Read(func(m *meta) {
		if at := path(r); len(at) == 0 {
			text = encode(slices.Sorted(maps.Keys(m.Collections)))
		} else if in, name := m.find(at); in[name] != nil {
			text = encode(in[name])
		}
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Age", fmt.Sprint(math.Ceil(age.Seconds())))
	if text == nil {
		http.Error(w, says[http.StatusNotFound], http.StatusNotFound)
		return
	}
	show(w, http.StatusOK, text)
}

func show(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that is gone hears nothing
}
