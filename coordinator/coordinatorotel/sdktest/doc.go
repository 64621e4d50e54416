// Package sdktest proves coordinatorotel with OpenTelemetry's own SDK. It is a module of its own, so
// that nobody gets an SDK with understudy.
package sdktest
