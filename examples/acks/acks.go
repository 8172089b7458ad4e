// Package acks asks and answers: what a handler returns is the acknowledgement, and the server
// can ask its clients as well.
//
//	chaussette --backend socketio ./examples/acks.App
package acks

import (
	"context"
	"errors"
	"time"

	"github.com/chaussette/chaussette/socketio"
)

// App is what is served.
var App divider

// divider divides, and has votes.
type divider struct{}

// RegisterSocketIO implements socketio.App.
func (divider) RegisterSocketIO(io *socketio.Server) {
	// socket.emit('divide', 7, 2, (answer) => ...): 3.5, or {error: 'by zero'}
	io.On("divide", func(a, b float64) (float64, error) {
		if b == 0 {
			return 0, errors.New("by zero")
		}
		return a / b, nil
	})

	// Who calls for a vote gets the number of yeses. Every client is asked by
	// socket.on('vote', (question, answer) => answer(true)), and has five seconds.
	io.On("call a vote", func(ctx context.Context, question string) (yes int, err error) {
		answers, err := io.To().Timeout(5*time.Second).EmitWithAck(ctx, "vote", question)
		var missing *socketio.MissingAcksError
		if err != nil && !errors.As(err, &missing) {
			return 0, err
		}
		for _, a := range answers {
			var agrees bool
			if a.Decode(&agrees) == nil && agrees {
				yes++
			}
		}
		return yes, nil
	})
}
