// Package redis is the adapter of workers on several machines that share a Redis server,
// in the format of Node's @socket.io/redis-adapter 8: workers of this server, of Node's,
// and Node's emitter share rooms, acknowledgements and requests.
//
//	broker, err := redis.Open("redis://cache.example.com:6379", nil)
//	if err != nil { ... }
//	defer broker.Close()
//	io := socketio.NewServer(&socketio.Options{Adapter: broker.Factory})
//
// The URL is that of go-redis (redis:// and rediss://, user, password, number of the
// database), with two parameters of its own:
//
//	prefix   what the names of the channels begin with; socket.io if it is not there, as
//	         with Node's adapter, where the option is called key
//	sharded  the channels of Redis 7 that are bound to a shard, as createShardedAdapter
//	         uses them: dynamic (or 1), dynamic-private or static, which are the
//	         subscription modes of that
//
// # On the wire
//
// P is the prefix, N the namespace with its slash. Classic:
//
//	P#N#               broadcasts: MessagePack of [uid, packet, opts]
//	P#N#room#          the same, to one room
//	P-request#N#       what needs more than delivery, in JSON, or in MessagePack if it may
//	                   have binary. Its subscribers are the workers there are.
//	P-response#N#      answers
//	P-response#N#uid#  answers to one worker
//
// and sharded, where every message is {uid, nsp, type, data}, in JSON or, where there is
// binary, in MessagePack:
//
//	P#N#               everything but answers. Its subscribers are the workers there are.
//	P#N#uid#           answers to one worker
//	P#N#room#          broadcasts to one room, in the dynamic modes
//
// This server sends what is for one room to P#N# in the dynamic modes, too: a worker
// subscribes to the channel of a room when the first socket is in it, and until Redis has
// heard of that it would miss what comes. It is subscribed to the channels of its rooms
// because Node's workers send there.
//
// # Siblings
//
// The workers on one socket have their own way to one another. Each is connected to Redis
// as well, since it is a server of its own in the eyes of Node's workers. What a worker
// sends goes to its siblings by their way, and once to Redis; there it says by a field that
// Node's workers ignore, near, who has it already. Those deliver nothing; and they answer a
// request with nothing, so that whoever asks counts as many answers as Redis counts
// subscribers.
//
// # Differences to the contract
//
// An acknowledgement from another machine has its first argument only: so it is between
// Node's workers. Redis has to be there: what is emitted while it is away stays on the
// machine, is counted, and the log says so. It is not sent later.
package redis
