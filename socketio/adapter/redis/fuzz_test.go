package redis_test

import (
	"encoding/json"
	"testing"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/adapter/redis"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Whatever comes from Redis is dropped or handled; and what is delivered is an event that
// each client can be sent.
func FuzzReceived(f *testing.F) {
	for _, payload := range nonsense {
		f.Add(payload)
	}
	for _, seed := range []string{
		`["other",{"type":2,"data":["x",1.5,null],"nsp":"/"},{"rooms":["a",5],"except":[],"flags":{"volatile":true,"compress":false}},["group","tag"]]`,
		`{"uid":"other","requestId":"1","type":7,"packet":{"type":2,"data":["x"],"nsp":"/"},"opts":{"rooms":[],"except":[],"flags":{"timeout":1000}}}`,
	} {
		b, err := parser.EncodeMsgpack(parser.Raw{JSON: json.RawMessage(seed)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, seed := range []string{
		`{"type":2,"opts":{"rooms":["a"],"except":["b"]},"rooms":["c"]}`, `{"type":4,"opts":{"rooms":[],"except":[]},"close":true}`,
		`{"type":2,"sid":"s","room":"r","requestId":"1"}`, `{"uid":"other","requestId":"1","type":5,"opts":{"rooms":[],"except":[]}}`,
		`{"uid":"other","requestId":"1","type":6,"data":["x"]}`, `{"uid":"other","requestId":"1","type":0,"rooms":[]}`,
		`{"requestId":"me-1","sockets":[{"id":"s","handshake":{"headers":{"a":"b","c":["d"]},"issued":1e300},"rooms":["s"],"data":{}}]}`,
		`{"requestId":"me-1","type":8,"clientCount":-1}`, `{"requestId":"me-1","type":9,"packet":{}}`, `{"requestId":"me-1","rooms":[1,"a"]}`,
		`{"uid":"other","nsp":"/","type":3,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"data":["x"],"nsp":"/"},"requestId":"1"}}`,
		`{"uid":"other","nsp":"/","type":10,"data":{"requestId":"me-1","packet":[1]}}`, `{"uid":"other","nsp":"/","type":8,"data":{"requestId":"me-1","sockets":[{}]}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		for _, mode := range []string{"", "dynamic"} {
			a, receive := redis.NewDeaf("/", mode, &adaptertest.Handler{})
			s := adaptertest.NewSocket(a, "s")
			a.Add(s)
			a.Join(s, "a")
			for _, channel := range []string{"socket.io#/#", "socket.io#/#a#", "socket.io-request#/#", "socket.io-response#/#", "socket.io#/#me#"} {
				receive(channel, payload)
			}
			for _, data := range s.Events() {
				p := parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(data)}
				if !json.Valid(p.Data) || p.Check() != nil {
					t.Errorf("delivered %q", data)
				}
				for _, room := range a.Rooms(s) {
					a.Leave(s, adapter.Room(room))
				}
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
