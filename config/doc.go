// Package config reads the settings of a process that takes part: from flags, the
// environment, a file, and what etcdctl and consul read themselves. A flag counts more
// than a variable, that more than the file, that more than another tool's variable, and
// all more than the default. Every setting is one [Key] with one name: etcd.endpoints in
// the file is --etcd-endpoints and UNDERSTUDY_ETCD_ENDPOINTS.
//
// A program that embeds a coordinator has its store chosen by --backend in a few lines:
//
//	witness.Main(backends.Beside) // first in main: this program is its own witness
//	config.Flags(pflag.CommandLine)
//	pflag.Parse()
//	c, err := config.Load(pflag.CommandLine)
//	if err != nil {
//		return err // all that is wrong, in one error
//	}
//	locker, err := c.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer locker.Close()
//	return coordinator.Run(ctx, locker, c.Coordinator, work)
//
// Nothing is read but when Load or Read is called, and nothing is kept outside of what
// they return.
package config
