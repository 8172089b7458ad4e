package adapter

import "github.com/chaussette/chaussette/ws"

// Form is a way to encode events for clients, as WebSocket frames: one for each protocol
// that they speak. What they are is up to who makes sockets, but for WireForm.
type Form uint8

// MaxForms is how many there may be.
const MaxForms = 8

// WireForm is the one whose first message ends with the Data of the Packet, and has the
// attachments behind it, each in a message as it is. It carries the event between workers.
const WireForm Form = 0

// Former may be implemented by a Socket for which other workers may encode.
type Former interface {
	// Form is what the client gets; false where it is nothing that others know. It is the
	// same as long as the adapter knows of the socket.
	Form() (Form, bool)
}

// Encoder may be implemented by a Handler that can encode for sockets of other workers.
type Encoder interface {
	// Encode returns p, which has no ID, in a form, or nil if it cannot.
	Encode(p *Packet, f Form) *ws.Prepared
}
