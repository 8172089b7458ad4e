package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/nats"
	"github.com/chaussette/chaussette/socketio/adapter/redis"
)

// broker is what carries a Socket.IO server to other machines.
type broker interface {
	// Factory makes the adapters of namespaces.
	Factory(namespace string, h adapter.Handler) (adapter.Adapter, error)
	// Ready waits until this worker hears the others.
	Ready(ctx context.Context) error
	Close() error
}

// brokers are those that --adapter knows, by the scheme of the URL.
var brokers = []struct {
	schemes []string
	check   func(address string) error
	open    func(address string, c Config, f *kin) (broker, error)
}{
	{[]string{"redis", "rediss"}, redis.Check, func(address string, c Config, f *kin) (broker, error) {
		goredis.SetLogger(redisLog{c.Log})
		o := &redis.Options{Logger: c.Log, Recovery: recoveryOf(c)}
		if f != nil {
			o.Siblings = f.hub
		}
		return redis.Open(address, o)
	}},
	{[]string{"nats", "tls"}, nats.Check, func(address string, c Config, f *kin) (broker, error) {
		o := &nats.Options{Logger: c.Log, Recovery: recoveryOf(c)}
		if f != nil {
			o.Siblings = f.hub
		}
		return nats.Open(address, o)
	}},
}

func recoveryOf(c Config) *adapter.Recovery {
	if c.SocketIO.Recovery == nil {
		return nil
	}
	return &c.SocketIO.Recovery.Recovery
}

// redisLog has go-redis write to the log of the worker, in place of the standard error. It
// tells of each attempt to connect; the adapter says what matters.
type redisLog struct{ log *slog.Logger }

// Printf implements what go-redis wants of a logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
	}
}

// checkAdapter tells what is wrong with the URL of an adapter, without the password in it.
func checkAdapter(address string) error {
	scheme, _, _ := strings.Cut(address, "://")
	var all []string
	for _, b := range brokers {
		for _, s := range b.schemes {
			if s != scheme {
				all = append(all, s+"://")
				continue
			}
			err := b.check(address)
			if wrong := (*url.Error)(nil); errors.As(err, &wrong) {
				err = wrong.Err // the rest is the URL
			}
			return err
		}
	}
	return fmt.Errorf("one of %s is expected", strings.Join(all, ", "))
}

// openBroker opens what --adapter names; nil is none.
func (w *Worker) openBroker(f *kin) (broker, error) {
	address := w.config.Adapter
	if address == "" {
		return nil, nil
	}
	scheme, _, _ := strings.Cut(address, "://")
	for _, b := range brokers {
		for _, s := range b.schemes {
			if s == scheme {
				opened, err := b.open(address, w.config, f)
				if err != nil {
					return nil, &OpenError{"the adapter", err}
				}
				return opened, nil
			}
		}
	}
	return nil, &UsageError{fmt.Errorf("--adapter: %w", checkAdapter(address))}
}

// meeting is how long a worker waits for its broker before it serves. Clients that come
// before miss what other machines send.
const meeting = 2 * time.Second

// meet waits for the broker.
func (w *Worker) meet(ctx context.Context, b broker) {
	if b == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, meeting)
	defer cancel()
	if err := b.Ready(ctx); err != nil {
		w.log.Warn("this worker serves before its adapter is there", "waited", meeting)
	}
}

// adapterFor makes b the adapter of a server.
func adapterFor(o *socketio.Options, b broker) {
	if b != nil {
		o.Adapter = b.Factory
	}
}
