package redis

import (
	"testing"

	"github.com/chaussette/chaussette/socketio/adapter"
)

// The transport of a socket travels where Node's admin UI has it, and the app does not see it.
func TestAdminData(t *testing.T) {
	for _, c := range []struct{ data, wire string }{
		{`{"a":1}`, `{"_admin":{"clientId":"abc","transport":"polling"},"a":1}`},
		{`null`, `{"_admin":{"clientId":"abc","transport":"polling"}}`},
		{`[1]`, `[1]`},
		{`"_admin"`, `"_admin"`},
		{`{"_admin":3}`, `{"_admin":{"clientId":"abc","transport":"polling"}}`},
	} {
		d := adapter.Description{ID: "x", Client: "abc", Transport: "polling", Data: []byte(c.data)}
		w := describe(d)
		if string(w.Data) != c.wire {
			t.Errorf("%s: %s, want %s", c.data, w.Data, c.wire)
		}
		back := w.description()
		if c.wire == c.data {
			if back.Client != "" || string(back.Data) != c.data {
				t.Errorf("%+v", back)
			}
			continue
		}
		if back.Client != "abc" || back.Transport != "polling" || string(back.Data) != `{"a":1}` && string(back.Data) != "{}" {
			t.Errorf("%s: %+v", c.data, back)
		}
	}
	if w := describe(adapter.Description{Data: []byte(`{"a":1}`)}); string(w.Data) != `{"a":1}` {
		t.Errorf("without an admin: %s", w.Data)
	}
	if d := (wireSocket{Data: []byte(`{"_admin":3}`)}).description(); string(d.Data) != `{"_admin":3}` {
		t.Errorf("of an app: %s", d.Data)
	}
}
