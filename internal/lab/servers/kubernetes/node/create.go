package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	auth "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// create starts a container of the pod.
func (p *pod) create(c core.Container, what string) (id string, err error) {
	env, err := p.environment(c)
	if err != nil {
		return "", err
	}
	made := container{Image: c.Image, WorkingDir: c.WorkingDir, Labels: p.labels(c.Name)}
	for key, value := range env {
		made.Env = append(made.Env, key+"="+value)
	}
	for _, arg := range c.Command {
		made.Entrypoint = append(made.Entrypoint, expand(arg, env))
	}
	for _, arg := range c.Args {
		made.Cmd = append(made.Cmd, expand(arg, env))
	}
	made.HostConfig.NetworkMode = "container:" + p.sandbox
	made.HostConfig.CgroupParent = "/" // in Docker's own group all containers together have the processor time of one process
	p.confine(&made, c)
	for _, m := range c.VolumeMounts {
		bind := p.volume(m.Name) + ":" + m.MountPath
		if m.ReadOnly {
			bind += ":ro"
		}
		made.HostConfig.Binds = append(made.HostConfig.Binds, bind)
	}
	return p.docker.start(p.told, p.called(what), made)
}

// confine takes over what the pod's and the container's security contexts say.
func (p *pod) confine(made *container, c core.Container) {
	if pod := p.spec.Spec.SecurityContext; pod != nil {
		if pod.RunAsUser != nil {
			made.User = strconv.FormatInt(*pod.RunAsUser, 10)
			if pod.RunAsGroup != nil {
				made.User += ":" + strconv.FormatInt(*pod.RunAsGroup, 10)
			}
		}
		if pod.FSGroup != nil {
			made.HostConfig.GroupAdd = []string{strconv.FormatInt(*pod.FSGroup, 10)}
		}
	}
	s := c.SecurityContext
	if s == nil {
		return
	}
	made.HostConfig.ReadonlyRootfs = s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		made.HostConfig.SecurityOpt = []string{"no-new-privileges"}
	}
	if s.Capabilities != nil {
		for _, one := range s.Capabilities.Drop {
			made.HostConfig.CapDrop = append(made.HostConfig.CapDrop, string(one))
		}
		for _, one := range s.Capabilities.Add {
			made.HostConfig.CapAdd = append(made.HostConfig.CapAdd, string(one))
		}
	}
}

// environment is a container's, with what refers to what came before it.
func (p *pod) environment(c core.Container) (map[string]string, error) {
	env := map[string]string{
		"KUBERNETES_SERVICE_HOST": p.server, "KUBERNETES_SERVICE_PORT": p.port, "HOSTNAME": p.spec.Name,
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	for _, e := range c.Env {
		switch {
		case e.ValueFrom == nil:
			env[e.Name] = expand(e.Value, env)
		case e.ValueFrom.FieldRef != nil:
			value, err := p.field(e.ValueFrom.FieldRef.FieldPath)
			if err != nil {
				return nil, err
			}
			env[e.Name] = value
		default:
			return nil, fmt.Errorf("variable %s: this node knows fieldRef alone", e.Name)
		}
	}
	return env, nil
}

// field is one of the downward API.
func (p *pod) field(path string) (string, error) {
	if key, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return p.spec.Labels[strings.TrimSuffix(key, "']")], nil
	}
	known := map[string]string{
		"metadata.name": p.spec.Name, "metadata.namespace": p.spec.Namespace, "metadata.uid": string(p.spec.UID),
		"spec.nodeName": p.name, "spec.serviceAccountName": p.spec.Spec.ServiceAccountName, "status.podIP": p.ip, "status.hostIP": "127.0.0.1",
	}
	value, ok := known[path]
	if !ok {
		return "", fmt.Errorf("fieldRef %s: this node does not know it", path)
	}
	return value, nil
}

// expand replaces $(NAME) by what is known, as Kubernetes does.
func expand(text string, env map[string]string) string {
	var pairs []string
	for key, value := range env {
		pairs = append(pairs, "$("+key+")", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// volume is where a volume lies on this machine.
func (p *pod) volume(name string) string {
	for _, v := range p.spec.Spec.Volumes {
		if v.Name == name && v.HostPath != nil {
			return v.HostPath.Path
		}
	}
	return filepath.Join(p.dir, name)
}

// volumes makes what the pod's containers mount.
func (p *pod) volumes() error {
	for _, v := range p.spec.Spec.Volumes {
		dir := filepath.Join(p.dir, v.Name)
		switch {
		case v.HostPath != nil:
			continue
		case v.PersistentVolumeClaim != nil:
			if err := p.claim(v.PersistentVolumeClaim.ClaimName, dir); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		var files map[string][]byte
		var mode *int32
		var err error
		switch {
		case v.EmptyDir != nil:
			err = os.Chmod(dir, 0o777)
		case v.Secret != nil:
			mode = v.Secret.DefaultMode
			secret, e := p.client.CoreV1().Secrets(p.spec.Namespace).Get(p.told, v.Secret.SecretName, meta.GetOptions{})
			files, err = secret.Data, e
		case v.Projected != nil:
			mode = v.Projected.DefaultMode
			files, err = p.projected(v.Projected)
		default:
			err = fmt.Errorf("volume %s: this node knows no such kind", v.Name)
		}
		if err != nil {
			return err
		}
		if err := p.write(dir, files, mode); err != nil {
			return err
		}
	}
	return nil
}

// write writes the files of a volume, for the pod's group.
func (p *pod) write(dir string, files map[string][]byte, mode *int32) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		if s := p.spec.Spec.SecurityContext; s != nil && s.FSGroup != nil {
			if err := os.Chown(path, 0, int(*s.FSGroup)); err != nil {
				return err
			}
		}
		bits := int32(0o644)
		if mode != nil {
			bits = *mode
		}
		if err := os.Chmod(path, os.FileMode(bits)); err != nil {
			return err
		}
	}
	return nil
}

// projected are the files of a projected volume, such as a service account's.
func (p *pod) projected(v *core.ProjectedVolumeSource) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, s := range v.Sources {
		switch {
		case s.ServiceAccountToken != nil:
			request := &auth.TokenRequest{Spec: auth.TokenRequestSpec{
				ExpirationSeconds: s.ServiceAccountToken.ExpirationSeconds,
				BoundObjectRef:    &auth.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.spec.Name, UID: p.spec.UID},
			}}
			made, err := p.client.CoreV1().ServiceAccounts(p.spec.Namespace).CreateToken(p.told, cmp.Or(p.spec.Spec.ServiceAccountName, "default"), request, meta.CreateOptions{})
			if err != nil {
				return nil, err
			}
			files[s.ServiceAccountToken.Path] = []byte(made.Status.Token)
		case s.ConfigMap != nil:
			m, err := p.client.CoreV1().ConfigMaps(p.spec.Namespace).Get(p.told, s.ConfigMap.Name, meta.GetOptions{})
			if err != nil {
				return nil, err
			}
			for _, item := range s.ConfigMap.Items {
				files[item.Path] = []byte(m.Data[item.Key])
			}
		case s.DownwardAPI != nil:
			for _, item := range s.DownwardAPI.Items {
				value, err := p.field(item.FieldRef.FieldPath)
				if err != nil {
					return nil, err
				}
				files[item.Path] = []byte(value)
			}
		}
	}
	return files, nil
}

// claim has dir be the hostPath of the volume that a claim is bound to.
func (p *pod) claim(name, dir string) error {
	ctx := context.WithoutCancel(p.told)
	claim, err := p.client.CoreV1().PersistentVolumeClaims(p.spec.Namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return err
	}
	volume, err := p.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, meta.GetOptions{})
	if err != nil {
		return err
	}
	if volume.Spec.HostPath == nil {
		return fmt.Errorf("volume %s: this node knows hostPath alone", volume.Name)
	}
	return os.Symlink(volume.Spec.HostPath.Path, dir)
}
