// Package webtransport accepts WebTransport sessions on a UDP socket, for an
// [engineio.Server] with the transport of that name:
//
//	io := socketio.NewServer(&socketio.Options{Engine: engineio.Options{
//		Transports: []engineio.TransportName{engineio.Polling, engineio.WebSocket, engineio.WebTransport},
//	}})
//	l, err := webtransport.Listen(":443", &webtransport.Options{Engine: io.Engine(), TLS: config})
//	...
//	go l.Serve()
//
// A page connects to the host and port that it polls, so the UDP port has the number of the
// TCP port, or a proxy in front makes it so.
//
// It is WebTransport over HTTP/3 (draft-ietf-webtrans-http3), tested with Chromium. What is
// of QUIC (RFC 9000), HTTP/3 (RFC 9114) and the extended CONNECT (RFC 9220) is quic-go's and
// webtransport-go's. Other requests of HTTP/3 get 404.
package webtransport
