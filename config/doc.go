// Package config reads the settings of a process that takes part: from flags, the environment, a
// file, and the variables of etcdctl and consul. A flag overrides a variable, a variable the
// file, the file another tool's variable, and all of them the default. Every setting is one [Key]
// with one name: etcd.endpoints in the file is --etcd-endpoints and UNDERSTUDY_ETCD_ENDPOINTS.
//
// With a few lines, a program that embeds a coordinator chooses its store by --backend:
//
//	witness.Main(backends.Beside) // first in main: this program is its own witness
//	config.Flags(pflag.CommandLine)
//	pflag.Parse()
//	c, err := config.Load(pflag.CommandLine)
//	if err != nil {
//		return err // everything that is wrong, in one error
//	}
//	locker, err := c.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer locker.Close()
//	return coordinator.Run(ctx, locker, c.Coordinator, work)
//
// Nothing is read except when Load or Read is called, and nothing is kept outside of what they
// return.
package config
