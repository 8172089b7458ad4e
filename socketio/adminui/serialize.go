package adminui

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
)

// serializedSocket is a socket as pages get it. What its client has authenticated with is not
// in it, but headers are, with the cookies.
type serializedSocket struct {
	ID        socketio.SocketID `json:"id"`
	ClientID  string            `json:"clientId"`
	Transport string            `json:"transport"`
	Namespace string            `json:"nsp"`
	Data      json.RawMessage   `json:"data"`
	Handshake handshake         `json:"handshake"`
	Rooms     []socketio.Room   `json:"rooms"`
}

type handshake struct {
	Address string            `json:"address"`
	Headers map[string]string `json:"headers"`
	Query   map[string]string `json:"query"`
	Issued  int64             `json:"issued"` // Unix milliseconds
	Secure  bool              `json:"secure"`
	Time    string            `json:"time"` // as JavaScript writes it
	URL     string            `json:"url"`
	XDomain bool              `json:"xdomain"`
}

func serialize(d adapter.Description, namespace string) serializedSocket {
	h := handshake{
		Address: d.Handshake.Address, Headers: map[string]string{}, Query: map[string]string{}, Issued: d.Handshake.Issued.UnixMilli(),
		Secure: d.Handshake.Secure, Time: d.Handshake.Issued.Format("Mon Jan 02 2006 15:04:05 GMT-0700"), URL: d.Handshake.URL,
	}
	for name, values := range d.Handshake.Headers {
		h.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if u, err := url.Parse(h.URL); err == nil {
		for name, values := range u.Query() {
			h.Query[name] = values[0]
		}
	}
	_, h.XDomain = h.Headers["origin"]
	if host, _, err := net.SplitHostPort(h.Address); err == nil {
		h.Address = host
	}
	h.Address = cmp.Or(h.Headers["cf-connecting-ip"], h.Headers["x-forwarded-for"], h.Address)
	return serializedSocket{
		ID: d.ID, ClientID: d.Client, Transport: d.Transport, Namespace: namespace, Data: dataOf(d.Data),
		Handshake: h, Rooms: append([]socketio.Room{}, d.Rooms...),
	}
}

// dataOf is data as the page shows it, which wants an object.
func dataOf(data json.RawMessage) json.RawMessage {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0 || string(data) == "null":
		return json.RawMessage("{}")
	case data[0] != '{':
		return slices.Concat(json.RawMessage(`{"data":`), data, json.RawMessage("}"))
	}
	return data
}

// askNamespaces is what workers ask one another for: the names of their namespaces.
const askNamespaces = "chaussette:adminui:namespaces"

func (a *admin) names() []string {
	var names []string
	for _, n := range a.io.Namespaces() {
		names = append(names, n.Name())
	}
	return names
}

// everyone is all sockets in all namespaces of all workers.
func (a *admin) everyone(ctx context.Context) []serializedSocket {
	names := a.names()
	if !a.alone {
		// A pattern may have made some on other workers alone.
		asking, cancel := context.WithTimeout(ctx, patience)
		answers, _ := a.ns.ServerSideEmitWithAck(asking, askNamespaces) // of those that have
		cancel()
		for _, answer := range answers {
			var theirs []string
			if answer.Decode(&theirs) == nil {
				names = append(names, theirs...)
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
	}
	all := []serializedSocket{}
	for _, name := range names {
		a.io.Visit(name, func(n *socketio.Namespace) {
			found, err := n.FetchSockets(ctx)
			if err != nil {
				a.log.Warn("socket.io admin: sockets of some workers are missing", "namespace", name, "error", err)
			}
			for _, s := range found {
				all = append(all, serialize(s.Description, name))
			}
		})
	}
	return all
}
