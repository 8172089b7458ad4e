// Package adminui is the server's side of the Socket.IO Admin UI, as @socket.io/admin-ui
// 0.5.1 is for Node: the page at https://admin.socket.io, or a copy of it, shows the
// servers, namespaces, rooms, sockets and events of a [socketio.Server], and sends, joins,
// leaves and disconnects.
//
//	io := socketio.NewServer(&socketio.Options{Engine: engineio.Options{
//		Origins: []string{"https://admin.socket.io"},
//	}})
//	err := adminui.Register(io, &adminui.Options{Username: "admin", PasswordHash: hash})
//
// The page is a client of one namespace, /admin. It logs in with its handshake's
// {username, password}, or {sessionId}, and is sent
//
//	session              a session id, after a login with the password
//	config               {supportedFeatures}
//	server_stats         of each server, every two seconds
//
// and in development mode
//
//	all_sockets          those there are, once
//	socket_connected     socket, time
//	socket_updated       {id, nsp, data or transport}
//	socket_disconnected  namespace, id, reason, time
//	room_joined          namespace, room, id, time
//	room_left            namespace, room, id, time
//	event_received       namespace, id, [name, ...arguments], time
//	event_sent           namespace, id, [name, ...arguments], time
//
// It may send, unless Options.ReadOnly is set, with a room or a socket's id as filter, or
// none for all sockets of the namespace,
//
//	emit                 namespace, filter, name, ...arguments
//	join                 namespace, room, filter
//	leave                namespace, room, filter
//	_disconnect          namespace, whether to close the connection, filter
//
// All goes through the namespace's adapter: the page sees the sockets of all workers that
// share it, whichever it has reached. Their sessions are shared as well.
package adminui
