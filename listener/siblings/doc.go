// Package siblings lets the workers on one listening socket talk to one another, with
// nothing to configure: the socket that they share is how they find one another.
//
//	s, err := siblings.Open(&siblings.Options{Key: l.Identity()})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	s.Handle(kind, func(m siblings.Message) { ... })
//	err = s.Start()
//
// # The folder
//
// The workers of a socket meet in BASE/chaussette-UID/KEY, where BASE is
// $XDG_RUNTIME_DIR or else the system's temporary folder, and KEY names the socket. Each
// listens there on a Unix socket that is called like its [Tag]. Both folders are of mode
// 0700 and belong to the user; a folder that does not, or a link in its place, is refused.
// A peer is asked for its user besides (SO_PEERCRED): one of another is turned away.
//
// A worker's socket appears under its name when it listens, and not before. It reads the
// folder once after that, and connects to everybody there. So of two workers that start at
// the same moment at least one sees the other, and whoever is connected to knows from
// then on: nobody polls, or watches the folder.
//
// # The wire
//
// Both sides of a connection begin with a hello, and exchange frames from then on, in
// both directions:
//
//	4 bytes  length of the payload, big endian
//	1 byte   kind; 0 is the hello
//	1 byte   flags: 1 says that a file descriptor comes with the frame (SCM_RIGHTS)
//	         payload
//
// The payload of a hello is JSON: {"siblings":VERSION,"socket":KEY,"tag":TAG,"pid":PID}.
// A worker of another version is left alone, and the log says so. A frame that is longer
// than Options.MaxMessage, or a descriptor that no frame speaks of, ends the connection;
// descriptors that nobody has taken are closed.
//
// Two workers may have two connections, where each has connected to the other. Each sends
// on one of them alone, so what it sends arrives in order. When one of them ends the other is
// still read to its end: there may be descriptors in it.
//
// # Those who are slow, stop or die
//
// What is for a sibling waits in a queue that is bounded in bytes, and in the time
// without progress. Past that the sibling is dropped: [Siblings.Watch] says that it has
// left. When it comes to itself it finds its connection closed, and connects again. What
// was sent meanwhile it has not got; those who keep a state make it up when they hear
// that it has joined. A sibling that dies is known to have left at once. A descriptor that
// was not sent to one that leaves comes back ([Siblings.GiveBack]).
package siblings
