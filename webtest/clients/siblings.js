// Many clients of several workers: node siblings.js URL CLIENTS [strict]
// Half of them stay on polling, where each request is a connection of its own. Commands
// come on standard input, a line each, and each is answered by one line of JSON:
//
//	connect          opens the clients: {connected, errors, pids}
//	emit N           N emits by clients in turn: {emitted, missing, doubled}
//	begin [PAUSE]    emits, every so many milliseconds, until `end` or `stop`
//	end              answers as emit does, with {away, notRecovered, longest}
//	stop             {certain, uncertain}: which emits were acknowledged, and which not
//	check IDS        IDS is the answers of stop, of all processes together: waits for them, and
//	                 answers {received, missing, doubled, of}: what came of certain ones, and
//	                 how many clients have each uncertain one
//	ask              the requests among workers: {count, answers, siblings}
//	count            the sockets of all workers: {count}
//	without PID N SIZE   N emits with SIZE bytes, by one client of each other worker in turn, to
//	                 those of these workers that are on WebSocket (a poll may be in the hands of the
//	                 one without): {emitted, missing, longest: in milliseconds}
//	fewest           the fewest siblings that the worker of any client knows of: {count}
//	pids             how many clients each worker has: {PID: clients}
const { io } = require('socket.io-client-4');

const [url, wanted] = [process.argv[2], Number(process.argv[3])];
const strict = process.argv[4] === 'strict'; // a refused attempt to come back is an error as well
const clients = [];
let errors = 0;
let next = 0; // the number of the next emit
const uncertain = new Set(); // those of which nobody knows
const certain = new Set(); // the emits that a worker has acknowledged
let running = null;

process.on('unhandledRejection', (e) => { console.error(e); process.exit(1); });

function client(i) {
  const socket = io(url, {
    transports: i % 2 ? ['polling'] : ['polling', 'websocket'],
    forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 300, timeout: 20000,
  });
  const c = { socket, got: new Map(), away: 0, longest: 0, since: 0 };
  socket.on('said', (id) => c.got.set(id, (c.got.get(id) || 0) + 1));
  socket.on('question', (ack) => ack(i));
  socket.on('connect', () => {
    if (!c.since) return;
    c.longest = Math.max(c.longest, Date.now() - c.since);
    c.since = 0;
    if (!socket.recovered) c.lost = true;
  });
  socket.on('disconnect', (reason) => { c.away++; c.since = Date.now(); if (process.env.VERBOSE) console.error(i, reason); });
  socket.on('connect_error', (e) => { if (!c.away || strict) { errors++; console.error(i, e.message, e.description); } });
  return c;
}

const connected = (c) => c.socket.connected || new Promise((done) => c.socket.once('connect', done));

async function emit() {
  const id = `${process.pid}-${next++}`;
  const there = clients.filter((c) => c.socket.connected);
  if (there.length === 0) return new Promise((r) => setTimeout(r, 10));
  const c = there[next % there.length];
  try {
    if (next % 7) await c.socket.timeout(5000).emitWithAck('say', id);
    else await c.socket.timeout(5000).emitWithAck('say with a blob', id, Buffer.from(id));
    certain.add(id);
  } catch { uncertain.add(id); /* it was away just then: the emit may have happened, or not */ }
}

// settled waits until everybody has everything, or nothing comes any more.
async function settled() {
  const total = () => clients.reduce((n, c) => n + c.got.size, 0);
  let quiet = 0;
  for (let before = -1; quiet < 30; await new Promise((r) => setTimeout(r, 100))) {
    const now = total();
    quiet = now === before ? quiet + 1 : 0;
    before = now;
    if (clients.every((c) => c.socket.connected) && result().missing === 0) return;
  }
}

function result() {
  let [missing, doubled] = [0, 0];
  for (const c of clients) {
    // Who was away, and did not get its session back, has missed something.
    if (!c.lost) for (const id of certain) if (!c.got.has(id)) missing++;
    for (const n of c.got.values()) if (n > 1) doubled++;
  }
  return { emitted: certain.size, tried: next, missing, doubled,
    away: clients.reduce((n, c) => n + c.away, 0), notRecovered: clients.filter((c) => c.lost).length,
    longest: Math.max(...clients.map((c) => c.longest)), errors };
}

async function pids() {
  const found = {};
  await Promise.all(clients.map(async (c) => {
    c.pid = await c.socket.emitWithAck('pid');
    found[c.pid] = (found[c.pid] || 0) + 1;
  }));
  return found;
}

const commands = {
  async connect() {
    for (let i = 0; i < wanted; i++) {
      clients.push(client(i));
      if (i % 20 === 19) await Promise.all(clients.map(connected));
    }
    await Promise.all(clients.map(connected));
    return { connected: clients.length, errors, pids: await pids() };
  },
  async emit(n) {
    for (let i = 0; i < Number(n); i++) await emit();
    await settled();
    return result();
  },
  async begin(pause = 5) {
    let more = true;
    const done = (async () => { while (more) { await emit(); await new Promise((r) => setTimeout(r, Number(pause))); } })();
    running = { end: () => { more = false; return done; } };
    return {};
  },
  async end() {
    await running.end();
    await settled();
    return result();
  },
  async stop() {
    await running.end();
    return { certain: [...certain], uncertain: [...uncertain] };
  },
  async check(ids) {
    const all = JSON.parse(ids);
    for (const id of all.certain) certain.add(id);
    await settled();
    const r = result();
    r.received = 0;
    for (const c of clients) for (const id of all.certain) r.received += c.got.get(id) || 0;
    r.of = all.uncertain.map((id) => clients.filter((c) => c.got.has(id)).length);
    return r;
  },
  async ask() {
    // A worker that has just come back may be asked once more; for an answer that does not
    // come at all nobody waits for ever.
    const reply = async (event) => {
      for (let tries = 1; ; tries++) {
        try {
          return await clients[0].socket.timeout(10000).emitWithAck(event);
        } catch (e) {
          console.error(`${event}: ${e.message}`);
          if (tries === 3) throw e;
        }
      }
    };
    return { count: await reply('count'), answers: await reply('ask all'), siblings: await reply('siblings') };
  },
  count: async () => ({ count: await clients[0].socket.timeout(10000).emitWithAck('count').catch(() => -1) }),
  async without(pid, n, size) {
    const these = clients.filter((c) => c.pid !== Number(pid) && c.socket.io.engine.transport.name === 'websocket');
    const senders = [...new Map(these.map((c) => [c.pid, c])).values()];
    const blob = Buffer.alloc(Number(size));
    let [emitted, missing, longest] = [0, 0, 0];
    for (let i = 0; i < Number(n); i++) {
      const id = `without ${next++}`;
      const begin = Date.now();
      const late = () => Date.now() - begin > 20000;
      senders[i % senders.length].socket.emit('say with a blob', id, blob);
      while (!late() && !these.every((c) => c.got.has(id))) await new Promise((r) => setTimeout(r, 2));
      emitted++;
      missing += these.filter((c) => !c.got.has(id)).length;
      longest = Math.max(longest, Date.now() - begin);
    }
    return { emitted, missing, longest };
  },
  async fewest() {
    const known = await Promise.all(clients.map((c) => c.socket.timeout(10000).emitWithAck('siblings').catch(() => [])));
    return { count: Math.min(...known.map((all) => all?.length ?? 0)) };
  },
  pids,
};

require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const [name, ...args] = line.split(' ');
  console.log(JSON.stringify(await commands[name](...args)));
}).on('close', () => process.exit(0));
