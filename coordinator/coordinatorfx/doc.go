// Package coordinatorfx runs the services of an fx application (go.uber.org/fx) only
// while its process is active in a role.
//
//	fx.New(
//		backendsfx.Etcd,                        // provides the lock.Locker, of an etcd.Config
//		fx.Provide(newConfigs),                 // etcd.Config, coordinator.Config
//		fx.Provide(NewScheduler),               // takes a coordinatorfx.Lifecycle
//		fx.Provide(coordinatorfx.AsActive(NewReporter)),
//		fx.Invoke(func(*Scheduler) {}),
//		coordinatorfx.Module,                   // last
//	).Run()
//
// What must run only while active says so in one of three ways. A constructor takes a [Lifecycle]
// in place of fx.Lifecycle: its hooks run with every activation and demotion. A [Service] runs
// for the term, independently of others; see [AsActive]. A [Graph] builds all that it needs anew
// for every term, so that nothing of an earlier term can be stale.
//
// # Starting and stopping
//
// The application has started when it stands by: its OnStart hook does not wait for the role, and
// no term ends with the context that fx gives to the hook. On Stop the work is told to stop and
// the role is given back; give fx.StopTimeout more than coordinator.Config.StopTimeout, so that
// fx waits for both. Work that outlives the promise ends the process, as coordinator.Run says.
//
// Put [Module] last: what is constructed before it is started before it and stopped after it, so
// that work never uses anything that fx has not started yet or has already stopped.
package coordinatorfx
