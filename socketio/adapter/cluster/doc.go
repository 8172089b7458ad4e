// Package cluster is the adapter of workers that reach one another over a Bus: what the
// adapter's contract asks for, put into messages. Package siblings has the Bus of one
// machine.
//
// A message is one byte that says what it is, and fields: numbers are unsigned varints;
// strings and byte slices have their length before them, lists their count.
//
//	broadcast      flags rooms except data attachments
//	ask            request rooms except data attachments     a packet that wants acks
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
// A request's number is the sender's own. Answers go to it alone.
package cluster
