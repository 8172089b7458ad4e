// Clients of several servers that share rooms by a broker: node interop.js URL...
// Commands come on standard input, a line each, and each is answered by a line of JSON:
//
//	check          has each server do everything to the clients of all: {servers, problems}
//	emitter REDIS  has Node's emitter do what it can: {problems}
//	begin          has the servers emit until `end`, without pause
//	away, back     the broker is about to go; it has come back. Back returns when all
//	               servers hear one another: {}
//	end            {emitted, during, missing, doubled}
const assert = require('assert');
const { io } = require('socket.io-client');

const patience = 30000;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
process.on('unhandledRejection', (e) => { console.error(e); process.exit(1); });

class Client {
  constructor(url, name) {
    Object.assign(this, { url, name, said: [], answers: true, ended: null });
    this.socket = io(url, { auth: { name }, query: { of: name }, forceNew: true, transports: ['websocket'], extraHeaders: { 'user-agent': 'interop' } });
    this.socket.on('said', (...args) => this.said.push(args));
    this.socket.on('question', (arg, ack) => { if (this.answers) ack({ name, arg }); });
    this.socket.on('disconnect', (reason) => { this.ended = reason; });
    this.inflated = []; // messages that came compressed
    this.there = new Promise((done) => this.socket.once('connect', () => {
      const deflate = this.socket.io.engine.transport.ws._extensions['permessage-deflate'];
      if (!deflate) return done();
      const decompress = deflate.decompress.bind(deflate);
      deflate.decompress = (data, fin, callback) => decompress(data, fin, (err, message) => {
        this.inflated.push(String(message));
        callback(err, message);
      });
      return done();
    }));
  }
  do(event, ...args) {
    return this.socket.timeout(patience).emitWithAck(event, ...args).then((r) => {
      if (r && r.error) throw new Error(`${this.name}: ${event}: ${r.error}`);
      return r;
    });
  }
  count(id) { return this.said.filter((s) => s[0] === id).length; }
}

const urls = process.argv.slice(2);
const clients = []; // three of each server; the first of each is in no further room
const of = (i) => clients.slice(3 * i, 3 * i + 3);
let number = 0;
const fresh = (what) => `${what} ${number++}`;

async function eventually(what, f) {
  const end = Date.now() + patience;
  while (!await f()) {
    if (Date.now() > end) throw new Error(`not in ${patience} ms: ${what}`);
    await sleep(5);
  }
}

async function connect() {
  for (let i = 0; i < urls.length; i++) for (let n = 0; n < 3; n++) clients.push(new Client(urls[i], `${i}.${n}`));
  await Promise.all(clients.map((c) => c.there));
  for (const c of clients) {
    if (!c.name.endsWith('.0')) await c.do('join', 'even', c.name);
    if (c.name.endsWith('.1')) await c.do('join', 'first');
  }
}

// hear waits until what each server emits reaches all clients.
async function hear() {
  for (let i = 0; i < urls.length; i++) {
    let id;
    await eventually(`server ${i} is heard`, async () => {
      id = fresh('probe');
      await of(i)[0].do('emit', {}, id);
      for (let n = 0; n < 40 && !clients.every((c) => c.count(id) === 1); n++) await sleep(5);
      return clients.every((c) => c.count(id) === 1);
    });
  }
}

// barrier returns when what a server sent before has arrived everywhere.
async function barrier(by) {
  const id = fresh('barrier');
  await by.do('emit', {}, id);
  await eventually('a barrier', () => clients.every((c) => c.count(id) > 0));
}

async function expectSaid(by, what, id, who) {
  await barrier(by);
  for (const c of clients) assert.strictEqual(c.count(id), who(c) ? 1 : 0, `${what}: ${c.name} has it ${c.count(id)} times`);
}

// Poller is a client by polling that takes gzip.
class Poller {
  async open(url) {
    const at = `${url}/socket.io/?EIO=4&transport=polling`;
    this.session = `${at}&sid=${JSON.parse((await (await fetch(at)).text()).slice(1)).sid}`;
    await fetch(this.session, { method: 'POST', body: '40' });
    while (!(await (await fetch(this.session)).text()).includes('40{'));
    return this;
  }
  // in what encoding the answer is that brings the event id
  async encoding(id) {
    for (;;) {
      const answer = await fetch(this.session);
      if ((await answer.text()).includes(`"${id}"`)) return answer.headers.get('content-encoding');
    }
  }
  close() { return fetch(this.session, { method: 'POST', body: '1' }); }
}

// What emit sends comes to all clients compressed, or not.
async function expectCompressed(emit, compressed) {
  const id = fresh('compress');
  const pollers = await Promise.all(urls.map((url) => new Poller().open(url)));
  const answers = Promise.all(pollers.map((p) => p.encoding(id)));
  await emit(id);
  assert.deepStrictEqual(await answers, pollers.map(() => (compressed ? 'gzip' : null)));
  await Promise.all(pollers.map((p) => p.close()));
  await eventually('compress', () => clients.every((c) => c.count(id) === 1));
  for (const c of clients) {
    // On WebSocket Node's server never compresses the text of a broadcast, and knows of no flag for the rest.
    if (!byServer.node || c.url !== byServer.node.url) assert.strictEqual(c.inflated.some((m) => m.includes(`"${id}"`)), compressed, `${id} to ${c.name}`);
  }
}

const even = (c) => !c.name.endsWith('.0');
const sorted = (list) => list.map((v) => JSON.stringify(v)).sort();

// steps are what a client has its server do.
const steps = {
  async broadcast(by) {
    const id = fresh('all');
    await by.do('emit', {}, id);
    await expectSaid(by, 'broadcast', id, () => true);
  },
  async rooms(by) {
    const id = fresh('even');
    await by.do('emit', { rooms: ['even'], except: ['first'] }, id);
    await expectSaid(by, 'except', id, (c) => c.name.endsWith('.2'));
    const both = fresh('both');
    await by.do('emit', { rooms: ['even', 'first'] }, both);
    await expectSaid(by, 'two rooms', both, even);
    const one = fresh('one');
    await by.do('emit', { rooms: ['first'] }, one);
    await expectSaid(by, 'one room', one, (c) => c.name.endsWith('.1'));
  },
  async private(by) {
    for (const to of clients) {
      const id = fresh('private');
      await by.do('emit', { rooms: [to.socket.id] }, id);
      await expectSaid(by, 'private', id, (c) => c === to);
    }
  },
  async values(by) {
    // No 1e300: Node's adapter makes 0 of it.
    const values = ['é€😀"\\\u2028', 0, -1, 127, 128, 65536, 2 ** 40, -(2 ** 40), 1.5, 1e-7, true, null, [], {}, [[1], { a: [null] }],
      Buffer.from([0, 255]), { deep: [{ b: Buffer.alloc(300, 7) }, Buffer.alloc(0)] }, 'x'.repeat(70000)];
    const id = fresh('values');
    await by.do('emit', {}, id, ...values);
    await expectSaid(by, 'values', id, () => true);
    for (const c of clients) assert.deepStrictEqual(c.said.find((s) => s[0] === id).slice(1), values, c.name);
  },
  async volatile(by) {
    const id = fresh('volatile');
    await eventually('volatile', async () => {
      await by.do('emit', { volatile: true, rooms: ['even'] }, id);
      await barrier(by);
      return clients.every((c) => !even(c) || c.count(id) > 0);
    });
  },
  async compress(by) {
    for (const how of [{}, { compress: true }, { compress: false }]) await expectCompressed((id) => by.do('emit', how, id, 'x'.repeat(4096)), how.compress !== false);
  },
  async order(by) {
    const ids = Array.from({ length: 50 }, () => fresh('order'));
    await Promise.all(ids.map((id, n) => by.do('emit', n % 2 ? { rooms: ['all'] } : {}, id)));
    await barrier(by);
    for (const c of clients) assert.deepStrictEqual(c.said.map((s) => s[0]).filter((id) => ids.includes(id)), ids, c.name);
  },
  async acks(by) {
    for (const arg of [{ a: 1 }, Buffer.from('blob')]) {
      const { answers, missing } = await by.do('ask', { rooms: ['even'], except: ['first'], timeout: 10000 }, arg);
      assert(!missing, 'acks are missing');
      const want = clients.filter((c) => c.name.endsWith('.2')).map((c) => ({ name: c.name, arg }));
      assert.deepStrictEqual(sorted(answers), sorted(want));
    }
    const mute = clients[clients.length - 1 - 3 * (by === of(urls.length - 1)[0] ? 1 : 0)]; // of another server
    mute.answers = false;
    const { answers, missing } = await by.do('ask', { timeout: 1000 }, 'x');
    mute.answers = true;
    assert(missing, 'nobody noticed that an ack is missing');
    assert.deepStrictEqual(answers.map((a) => a.name).sort(), clients.filter((c) => c !== mute).map((c) => c.name).sort());
  },
  async fetch(by) {
    const found = await by.do('fetch', { rooms: ['even'] });
    assert.deepStrictEqual(found.map((s) => s.data.name).sort(), clients.filter(even).map((c) => c.name).sort());
    for (const s of found) {
      const c = clients.find((one) => one.name === s.data.name);
      const rooms = [c.socket.id, 'all', 'even', c.name, ...(c.name.endsWith('.1') ? ['first'] : [])];
      assert.deepStrictEqual(s.rooms.filter((r) => !r.startsWith('room ')).sort(), rooms.sort()); // without those of move
      assert.strictEqual(s.id, c.socket.id);
      assert.deepStrictEqual(s.auth, { name: c.name });
      assert(s.url.includes(`of=${c.name}`), s.url);
      assert(s.address.startsWith('127.0.0.1'), s.address);
      assert.strictEqual(s.agent, 'interop');
      assert(Math.abs(Date.now() - s.issued) < 600000, String(s.issued));
    }
    assert.strictEqual((await by.do('fetch', {})).length, clients.length);
    const one = clients[clients.length - 1];
    assert.deepStrictEqual((await by.do('fetch', { rooms: [one.socket.id] })).map((s) => s.id), [one.socket.id]);
  },
  async allRooms(by, format) {
    if (format === 'sharded' && await by.do('name') === 'node') return; // its adapter knows its own only
    const rooms = await by.do('rooms');
    for (const want of ['all', 'even', 'first', ...clients.map((c) => c.socket.id)]) assert(rooms.includes(want), `${want} in ${rooms}`);
    assert.strictEqual(new Set(rooms).size, rooms.length);
  },
  async move(by) {
    const room = fresh('room');
    await by.do('move', { rooms: ['even'], except: ['first'] }, true, [room, `${room}!`]);
    const id = fresh('joined');
    await barrier(by);
    await by.do('emit', { rooms: [room] }, id);
    await expectSaid(by, 'joined', id, (c) => c.name.endsWith('.2'));
    await by.do('move', { rooms: [room] }, false, [room]);
    await barrier(by);
    const [left, stayed] = [fresh('left'), fresh('stayed')];
    await by.do('emit', { rooms: [room] }, left);
    await expectSaid(by, 'left', left, () => false);
    await by.do('emit', { rooms: [`${room}!`] }, stayed);
    await expectSaid(by, 'stayed', stayed, (c) => c.name.endsWith('.2'));
  },
  async kick(by) {
    for (const close of [false, true]) {
      const victims = urls.map((url, i) => new Client(url, `victim ${i}`));
      await Promise.all(victims.map((v) => v.there));
      const room = fresh('victims');
      await Promise.all(victims.map((v) => v.do('join', room)));
      await by.do('kick', { rooms: [room] }, close);
      await eventually('kicked', () => victims.every((v) => v.ended));
      for (const v of victims) assert.strictEqual(v.ended, 'io server disconnect');
      for (const v of victims) v.socket.close();
    }
    for (const c of clients) assert.strictEqual(c.ended, null, `${c.name} was disconnected`);
  },
  async serverSide(by, format, servers) {
    const text = fresh('text');
    const own = await by.do('name');
    const want = servers.filter((s) => s !== own).map((s) => `${s} ${text}`).sort();
    assert.deepStrictEqual((await by.do('who', text)).sort(), want);
    await by.do('tell', text);
    for (const c of new Set(Object.values(byServer))) {
      const name = await c.do('name');
      const heard = async () => (await c.do('heard')).filter((t) => t === text).length;
      if (name === own) assert.strictEqual(await heard(), 0);
      else await eventually(`${name} hears ${own}`, async () => await heard() === 1);
    }
  },
};

const byServer = {}; // a client of each server, by the server's name

async function check(format) {
  await hear();
  for (const c of clients) byServer[await c.do('name')] = c;
  const servers = Object.keys(byServer);
  const problems = [];
  // Those whose names nobody has heard, since no client has come to them, answer as well.
  const all = [...new Set((await clients[0].do('who', 'x')).map((a) => a.split(' ')[0]).concat(await clients[0].do('name')))];
  for (const [server, by] of Object.entries(byServer)) {
    for (const [name, step] of Object.entries(steps)) {
      try { await step(by, format, all); } catch (e) { problems.push(`${name} by ${server}: ${e.message}`); console.error(e); }
    }
  }
  return { servers: all, acted: servers, problems };
}

async function emitter(url) {
  const { Emitter } = require('@socket.io/redis-emitter');
  const { createClient } = require('redis');
  const redis = createClient({ url });
  await redis.connect();
  const e = new Emitter(redis);
  const problems = [];
  const step = async (name, f) => { try { await f(); } catch (err) { problems.push(`${name}: ${err.message}`); console.error(err); } };
  const got = (what, id, who) => eventually(what, () => clients.every((c) => c.count(id) === (who(c) ? 1 : 0)));
  await step('emit', async () => {
    const id = fresh('emitter');
    e.emit('said', id, Buffer.from('b'));
    await got('emit', id, () => true);
  });
  await step('compress', async () => {
    for (const compress of [true, false]) await expectCompressed((id) => e.compress(compress).emit('said', id, 'x'.repeat(4096)), compress);
  });
  await step('rooms', async () => {
    const id = fresh('emitter');
    e.to('even').except('first').emit('said', id);
    await got('rooms', id, (c) => c.name.endsWith('.2'));
  });
  await step('move', async () => {
    const room = fresh('room');
    e.in('even').socketsJoin(room);
    await eventually('joined', async () => (await clients[0].do('fetch', { rooms: [room] })).length === clients.filter(even).length);
    e.in('first').socketsLeave(room);
    await eventually('left', async () => (await clients[0].do('fetch', { rooms: [room] })).length === clients.filter((c) => c.name.endsWith('.2')).length);
  });
  await step('kick', async () => {
    const victims = urls.map((u, i) => new Client(u, `victim ${i}`));
    await Promise.all(victims.map((v) => v.there));
    await Promise.all(victims.map((v) => v.do('join', 'victims')));
    e.in('victims').disconnectSockets(true);
    await eventually('kicked', () => victims.every((v) => v.ended));
    for (const v of victims) v.socket.close();
  });
  await step('server side', async () => {
    const text = fresh('text');
    e.serverSideEmit('tell', text);
    for (const c of Object.values(byServer)) await eventually('told', async () => (await c.do('heard')).filter((t) => t === text).length === 1);
  });
  await redis.quit();
  return { problems };
}

// Emits under load, while the broker goes and comes.
let running = null;
const emitted = []; // {id, by, during}
let during = false;

function begin() {
  let stop = false;
  const loop = async (by) => {
    while (!stop) {
      const before = during;
      const id = fresh('load');
      await by.do('emit', { rooms: ['all'] }, id);
      emitted.push({ id, by, during: before || during });
      await sleep(2);
    }
  };
  const loops = Promise.all(urls.map((_, i) => loop(of(i)[0])));
  running = { end: async () => { stop = true; await loops; } };
  return {};
}

// calm returns after some emits that the broker has to carry.
async function calm() {
  const before = emitted.length;
  await eventually('emits', () => emitted.length >= before + 100);
}

async function end() {
  await running.end();
  await hear();
  for (let i = 0; i < urls.length; i++) await barrier(of(i)[0]);
  let [missing, doubled] = [0, 0];
  for (const c of clients) {
    const counts = new Map();
    for (const [id] of c.said) counts.set(id, (counts.get(id) || 0) + 1);
    for (const n of counts.values()) if (n > 1) doubled++;
    // What is emitted while the broker is away reaches those on the server that emits.
    for (const e of emitted) if ((!e.during || e.by === c) && !counts.has(e.id)) missing++;
  }
  return { emitted: emitted.length, during: emitted.filter((e) => e.during).length, missing, doubled };
}

async function main() {
  await connect();
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    const [command, arg] = line.split(' ');
    const answer = await {
      check: () => check(arg), emitter: () => emitter(arg), begin, end,
      // What was emitted before is there, so that it cannot be on its way when the broker goes.
      away: async () => { await calm(); during = true; await hear(); return {}; },
      back: async () => { await hear(); during = false; await calm(); return {}; },
    }[command]();
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}
main();
