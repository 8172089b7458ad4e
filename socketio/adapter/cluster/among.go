package cluster

import "slices"

// Others are the workers that share the namespace by the Bus, without this one.
func (a *Adapter) Others() []Worker { return a.bus.Others() }

// Among returns a as it is with these workers alone, whoever joins or leaves meanwhile.
// Who carries to further workers what these get calls the methods of what Among returns,
// and knows who has got it. It is not closed.
func (a *Adapter) Among(workers []Worker) *Adapter {
	return &Adapter{state: a.state, bus: &group{a.bus, workers}}
}

// group is a Bus to some of the workers of another one.
type group struct {
	Bus
	workers []Worker
}

// Others implements Bus.
func (g *group) Others() []Worker { return g.workers }

// newcomers are the others that are not in the group.
func (g *group) newcomers() []Worker {
	var found []Worker
	for _, w := range g.Bus.Others() {
		if !slices.Contains(g.workers, w) {
			found = append(found, w)
		}
	}
	return found
}

// Broadcast implements Bus.
func (g *group) Broadcast(message []byte) error {
	for _, w := range g.workers {
		_ = g.Send(w, message) // one that has left needs nothing
	}
	return nil
}
