// Package webtest starts real workers for tests: what net/http/httptest is for a
// handler, webtest is for the process that serves it. It starts N of them on one socket
// as the process managers do, and ends them with the test.
//
//	func TestMyService(t *testing.T) {
//		pool := webtest.Start(t, webtest.Circus, 4, "--backend", "http", "hello")
//		body := pool.Get("/")
//		pool.Workers[0].Restart()
//	}
//
// The program is the chaussette command of this module, built once for all tests of a
// package. [Pool] can start another: a program of one's own that calls server.Main.
// Call [Main] from TestMain, so that what was built is removed in the end.
//
// A test that fails shows what every worker logged.
package webtest
