package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// An engine is Docker's.
type engine struct{ http *http.Client }

func newEngine(socket string) engine {
	return engine{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// call makes a request, and decodes its answer into out; a *string takes it as it is.
func (e engine) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker/v1.41"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 && res.StatusCode != http.StatusNotModified {
		err = fmt.Errorf("docker: %s %s: %d %s", method, path, res.StatusCode, strings.TrimSpace(string(said)))
	}
	switch text, ok := out.(*string); {
	case err != nil || out == nil:
		return err
	case ok:
		*text = string(said)
		return nil
	}
	return json.Unmarshal(said, out)
}

// A container is as the engine wants to have it described.
type container struct {
	Image      string
	Hostname   string   `json:",omitempty"`
	Entrypoint []string `json:",omitempty"`
	Cmd        []string `json:",omitempty"`
	Env        []string
	User       string `json:",omitempty"`
	WorkingDir string `json:",omitempty"`
	Labels     map[string]string
	HostConfig struct {
		NetworkMode    string
		CgroupParent   string
		Binds          []string
		ReadonlyRootfs bool
		CapAdd         []string
		CapDrop        []string
		SecurityOpt    []string
		GroupAdd       []string
		Privileged     bool
	}
	NetworkingConfig struct{ EndpointsConfig map[string]endpoint }
}

type endpoint struct{ Aliases []string }

// start creates a container and starts it.
func (e engine) start(ctx context.Context, name string, c container) (id string, err error) {
	var made struct{ ID string }
	if err := e.call(ctx, "POST", "/containers/create?name="+url.QueryEscape(name), c, &made); err != nil {
		return "", err
	}
	return made.ID, e.call(ctx, "POST", "/containers/"+made.ID+"/start", nil, nil)
}

// wait returns the exit code of a container when it has ended.
func (e engine) wait(ctx context.Context, id string) (code int, err error) {
	var ended struct{ StatusCode int }
	err = e.call(ctx, "POST", "/containers/"+id+"/wait", nil, &ended)
	return ended.StatusCode, err
}

func (e engine) kill(ctx context.Context, id, signal string) error {
	return e.call(ctx, "POST", "/containers/"+id+"/kill?signal="+signal, nil, nil)
}

func (e engine) remove(ctx context.Context, id string) error {
	return e.call(ctx, "DELETE", "/containers/"+id+"?force=true", nil, nil)
}

// logs are what a container said, without the engine's frames.
func (e engine) logs(ctx context.Context, id string) string {
	var framed string
	if err := e.call(ctx, "GET", "/containers/"+id+"/logs?stdout=true&stderr=true", nil, &framed); err != nil {
		return err.Error()
	}
	var all strings.Builder
	for len(framed) >= 8 {
		n := int(framed[4])<<24 | int(framed[5])<<16 | int(framed[6])<<8 | int(framed[7])
		framed = framed[8:]
		n = min(n, len(framed))
		all.WriteString(framed[:n])
		framed = framed[n:]
	}
	return all.String()
}

// address is a container's on a network.
func (e engine) address(ctx context.Context, id, network string) (string, error) {
	var found struct {
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	err := e.call(ctx, "GET", "/containers/"+id+"/json", nil, &found)
	return found.NetworkSettings.Networks[network].IPAddress, err
}

// exec runs a command in a container until it ends, and returns its exit code and what it said.
func (e engine) exec(ctx context.Context, id string, command []string) (code int, said string, err error) {
	var made struct{ ID string }
	err = e.call(ctx, "POST", "/containers/"+id+"/exec", map[string]any{"Cmd": command, "AttachStdout": true, "AttachStderr": true, "Tty": true}, &made)
	if err != nil {
		return 0, "", err
	}
	if err := e.call(ctx, "POST", "/exec/"+made.ID+"/start", map[string]any{"Tty": true}, &said); err != nil {
		return 0, said, err
	}
	var ended struct{ ExitCode int }
	err = e.call(ctx, "GET", "/exec/"+made.ID+"/json", nil, &ended)
	return ended.ExitCode, said, err
}
