package webtransport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/engineio/webtransport"
)

// Polling and WebSocket come by TCP, WebTransport by UDP, on the same port.
func Example() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	io := socketio.NewServer(&socketio.Options{Engine: engineio.Options{
		Transports: []engineio.TransportName{engineio.Polling, engineio.WebSocket, engineio.WebTransport},
	}})
	http.Handle("/socket.io/", io)

	l, err := webtransport.Listen(":443", &webtransport.Options{Engine: io.Engine(), TLS: config})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := l.Serve(); err != nil {
			log.Print(err)
		}
	}()
	srv := &http.Server{Addr: ":443", TLSConfig: config}
	go func() {
		if err := srv.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-ctx.Done()
	_ = io.Drain(context.Background())
	_ = l.Close()
	_ = srv.Close()
	_ = io.Close()
}
