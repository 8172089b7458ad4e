// Package chat is a chat: nicknames, rooms, who is here, who is typing, and the last
// messages for those who come late. The command has it built in:
//
//	chaussette --backend socketio chat
package chat

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/chaussette/chaussette/socketio"
)

//go:embed index.html
var page []byte

// App is the chat: it serves its page, and its events.
var App = New()

// Chat keeps the last messages of each room.
type Chat struct {
	mu      sync.Mutex
	history map[socketio.Room][]Message
}

// New returns a chat in which nothing was said.
func New() *Chat { return &Chat{history: map[socketio.Room][]Message{}} }

// Message is what somebody said.
type Message struct {
	Name string    `json:"name"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Person is what the chat keeps with a socket.
type Person struct {
	Name string        `json:"name"`
	Room socketio.Room `json:"room"`
}

// Limits of what people may send, in characters, and of what is kept.
const (
	maxName, maxText      = 24, 2000
	maxHistory, maxLedger = 50, 1000
)

// ServeHTTP serves the page.
func (c *Chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

// RegisterSocketIO implements socketio.App.
func (c *Chat) RegisterSocketIO(io *socketio.Server) {
	io.DataType(Person{})
	// join: the name and the room that a client wants; it gets the last messages.
	io.On("join", func(ctx context.Context, s *socketio.Socket, name string, room socketio.Room) ([]Message, error) {
		name, room = strings.TrimSpace(name), socketio.Room(strings.ToLower(strings.TrimSpace(string(room))))
		if !fits(name, maxName) || !fits(string(room), maxName) {
			return nil, errors.New("a name and a room have 1 to 24 characters")
		}
		left, _ := s.Data().(Person)
		s.Leave("in:" + left.Room)
		s.Join("in:" + room) // so that no room is taken for a socket
		s.SetData(Person{name, room})
		if left.Room != "" && left.Room != room {
			c.tell(ctx, io, left.Room)
		}
		c.tell(ctx, io, room)
		return c.last(room), nil
	})

	// say: to everybody in the room, who says it included.
	io.On("say", func(s *socketio.Socket, text string) error {
		who, ok := s.Data().(Person)
		if text = strings.TrimSpace(text); !ok || !fits(text, maxText) {
			return errors.New("a message has 1 to 2000 characters, and a room")
		}
		m := Message{who.Name, text, time.Now()}
		c.keep(who.Room, m)
		return io.To("in:"+who.Room).Emit("said", m)
	})

	// typing: of no use to those who get it late.
	io.On("typing", func(s *socketio.Socket) error {
		who, _ := s.Data().(Person)
		return s.To("in:"+who.Room).Volatile().Emit("typing", who.Name)
	})

	io.OnDisconnect(func(s *socketio.Socket, _ socketio.Reason) {
		if who, ok := s.Data().(Person); ok {
			c.tell(context.Background(), io, who.Room)
		}
	})
}

// tell tells a room who is in it, and everybody which rooms there are.
func (c *Chat) tell(ctx context.Context, io *socketio.Server, room socketio.Room) {
	sockets, err := io.FetchSockets(ctx)
	if err != nil && len(sockets) == 0 {
		return
	}
	here, rooms := []string{}, map[socketio.Room]int{}
	for _, s := range sockets {
		var who Person
		if json.Unmarshal(s.Data, &who) != nil || who.Room == "" {
			continue // has not joined yet
		}
		if rooms[who.Room]++; who.Room == room {
			here = append(here, who.Name)
		}
	}
	slices.Sort(here)
	_ = io.To("in:"+room).Emit("people", here)
	_ = io.Emit("rooms", rooms)
}

func (c *Chat) keep(room socketio.Room, m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.history) >= maxLedger && c.history[room] == nil {
		clear(c.history)
	}
	list := append(c.history[room], m)
	c.history[room] = slices.Clone(list[max(len(list)-maxHistory, 0):])
}

func (c *Chat) last(room socketio.Room) []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Message{}, c.history[room]...)
}

func fits(s string, most int) bool { return s != "" && utf8.RuneCountInString(s) <= most }

func (c *Chat) String() string { return "chat (built-in)" }
