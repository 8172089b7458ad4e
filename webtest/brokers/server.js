// A Socket.IO server of Node with the events of brokersapp: node server.js REDIS FORMAT
// FORMAT is classic or sharded. Its URL is the first line that it writes. It ends with its
// standard input.
const http = require('http');
const { Server } = require('socket.io');
const { createClient } = require('redis');
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');

// What the adapter publishes while Redis is away is rejected, and nobody waits for it.
process.on('unhandledRejection', (e) => console.error(e.message));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

async function main() {
  const [url, format] = process.argv.slice(2);
  const pub = createClient({ url, socket: { reconnectStrategy: 50 } });
  const sub = pub.duplicate();
  for (const c of [pub, sub]) c.on('error', () => {}); // it comes back by itself
  await Promise.all([pub.connect(), sub.connect()]);
  const server = http.createServer();
  const adapter = format === 'sharded' ? createShardedAdapter(pub, sub) : createAdapter(pub, sub);
  const io = new Server(server, { adapter });
  const heard = [];
  const of = (o) => {
    let b = o.volatile ? io.volatile : io;
    if ('compress' in o) b = b.compress(o.compress);
    for (const r of o.rooms || []) b = b.to(r);
    for (const r of o.except || []) b = b.except(r);
    return b;
  };
  io.on('tell', (text) => heard.push(text));
  io.on('who', (text, answer) => answer(`node ${text}`));
  io.on('connection', (socket) => {
    socket.data.name = socket.handshake.auth.name;
    socket.join('all');
    const on = (event, f) => socket.on(event, async (...args) => {
      const answer = args.pop();
      try { answer(await f(...args)); } catch (e) { console.error(event, e); answer({ error: String(e) }); }
    });
    on('join', (...rooms) => { socket.join(rooms); });
    on('emit', (o, ...args) => { of(o).emit('said', ...args); });
    on('ask', async (o, arg) => {
      try {
        return { answers: await of(o).timeout(o.timeout).emitWithAck('question', arg) };
      } catch (e) {
        return { answers: e.responses, missing: true };
      }
    });
    on('fetch', async (o) => (await of(o).fetchSockets()).map((s) => ({
      id: s.id, rooms: [...s.rooms], data: s.data, auth: s.handshake.auth, url: s.handshake.url, address: s.handshake.address,
      agent: s.handshake.headers['user-agent'], issued: s.handshake.issued,
    })));
    on('move', (o, join, rooms) => { if (join) of(o).socketsJoin(rooms); else of(o).socketsLeave(rooms); });
    on('kick', (o, close) => { of(o).disconnectSockets(close); });
    on('tell', (text) => { io.serverSideEmit('tell', text); });
    on('who', (text) => io.serverSideEmitWithAck('who', text));
    on('heard', () => heard);
    on('name', () => 'node');
    on('rooms', async () => [...await io.of('/').adapter.allRooms()]);
  });
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
}
main();
