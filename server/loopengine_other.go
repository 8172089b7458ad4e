//go:build !linux

package server

import "net/http"

// loopEngine says whether HTTP can be spoken on event loops here.
const loopEngine = false

func (w *Worker) newLoopEngine(http.Handler, *sockets, *kin) (engine, error) {
	panic("not reached: there is no loopEngine")
}

type appLoops struct{}

func (w *Worker) openAppLoops() error { return nil }

func (w *Worker) closeAppLoops() {}
