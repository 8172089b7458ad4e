// Package ws is WebSocket for servers: RFC 6455, with per-message deflate (RFC 7692).
//
// A Conn is one open WebSocket. There are two ways to use one, and every engine has both.
//
// The plain way blocks, and keeps a goroutine for as long as the connection lives:
//
//	func echo(w http.ResponseWriter, r *http.Request) {
//		c, err := ws.Accept(w, r, nil)
//		if err != nil {
//			return // the client has been answered
//		}
//		defer c.Close(ws.StatusNormal, "")
//		for {
//			typ, p, err := c.Read(r.Context())
//			if err != nil {
//				return
//			}
//			if err := c.Write(r.Context(), typ, p); err != nil {
//				return
//			}
//		}
//	}
//
// With a Handler the engine calls the app when there is something to do. On the event
// loop of package ws/epoll an idle connection then holds no goroutine and no buffer:
//
//	type Echo struct{}
//
//	func (Echo) Open(c *ws.Conn)                                     {}
//	func (Echo) Message(c *ws.Conn, typ ws.MessageType, p []byte)    { c.Send(typ, p) }
//	func (Echo) Close(c *ws.Conn, err *ws.CloseError)                {}
//
//	func echo(w http.ResponseWriter, r *http.Request) { ws.Serve(w, r, nil, Echo{}) }
//
// An Engine carries the connections: ws/gorilla with a goroutine for each, ws/epoll on
// event loops. Accept finds it in the request's context, where the server has put it
// (WithEngine); without Chaussette's server around it, gorilla.New(nil).Wrap(handler)
// does that for any http.Handler.
package ws
