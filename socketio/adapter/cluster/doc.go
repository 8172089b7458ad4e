// Package cluster is the adapter of workers that reach one another over a Bus: what the
// adapter's contract asks for, put into messages. Package siblings has the Bus of one
// machine.
//
// A message is one byte that says what it is, and fields: numbers are unsigned varints;
// strings and byte slices have their length before them, lists their count.
//
//	broadcast      flags rooms except data attachments       or with flag 8
//	               flags rooms except size forms
//	forms          bits                                      in which forms the sender's clients get events
//	ask            request flags rooms except data attachments  a packet that wants acks
//	asked          request count                             how many sockets were asked
//	ack            request json attachments                  one socket's answer
//	enough         request                                   no more acks are wanted
//	join, leave    rooms except rooms-to-join
//	disconnect     closing rooms except
//	fetch          request rooms except
//	fetched        request json                              of []adapter.Description
//	allRooms       request
//	rooms          request rooms
//	serverSide     request data                              request 0 wants no answer
//	serverSideAck  request data
//
// Flags are the sum of 1 for what is volatile, 2 for what is not kept for recovery, 4 for
// what is not to be compressed on its way to a client, and 8 for a broadcast that comes as
// it goes to clients: forms are numbers (adapter.Form), each with the frames of a
// ws.Prepared.Wire, or with nothing where they are those of adapter.WireForm. In these lie
// the data, so many bytes, and the attachments. With recovery there is none of that: each
// worker adds an offset of its own to the data.
//
// With connection state recovery events go as
//
//	event          entry
//
// in place of broadcast, where an entry is
//
//	origin number time flags rooms except data attachments
//
// and the workers tell one another what they have, and what they need:
//
//	sync           self origins-and-numbers                  what the sender has; self are its own
//	want           origin number                             what comes after that?
//	history        more origin floor entries                 what is up to floor is not kept; with more set, another follows
//	take           request pid                               who has this session?
//	taken          request json entries                      here it is; nothing: not here
//	saved          json entries                              a session, of a worker that leaves
//	forget         pid                                       it was given back
//
// A request's number is the sender's own. Answers go to it alone.
package cluster
