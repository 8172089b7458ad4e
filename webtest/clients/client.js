// A Socket.IO client of any version, driven by a test: see ../clients_test.go.
//
//	node client.js VERSION TRANSPORTS URL
//
// TRANSPORTS is polling, websocket or upgrade. It goes through the scenario that every
// version can do, prints a line of JSON for each step, and ends with status 0 if all went
// well. {"step":"restart"} asks for the server to be restarted.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [version, transports, url] = process.argv.slice(2);
const oldest = version === '0.9';
const modern = version >= '3';

process.on('uncaughtException', (error) => fail('uncaughtException', error));
const timer = setTimeout(() => fail('timeout', new Error('after: ' + last)), 60000);
let last = 'start';

function report(step, details) {
  last = step;
  process.stdout.write(JSON.stringify({ step, ...details }) + '\n');
}

function fail(step, error) {
  process.stdout.write(JSON.stringify({ step, error: String((error && error.stack) || error).split('\n').map((s) => s.slice(0, 200)).join('\n') }) + '\n');
  process.exit(1);
}

function check(what, condition, details) {
  if (!condition) fail(what, JSON.stringify(details === undefined ? null : details));
  report(what);
}

// 0.9 is a script for browsers; its own loader for Node needs a ws that does not build any
// more. So it is given a window.
function browser09() {
  const WebSocket = require(path.join(path.dirname(require.resolve('socket.io-client-4/package.json')), 'node_modules', 'ws'));
  const { XMLHttpRequest } = require('xmlhttprequest');
  const listeners = {};
  const window = {
    location: new URL(url), setTimeout, clearTimeout, setInterval, clearInterval,
    addEventListener: (name, f) => { (listeners[name] = listeners[name] || []).push(f); },
    navigator: { userAgent: 'node', platform: 'node' },
    JSON, WebSocket: WebSocket, XMLHttpRequest: XMLHttpRequest,
  };
  window.window = window.self = window;
  // CORS is for browsers; the client asks whether XMLHttpRequest can do it.
  XMLHttpRequest.prototype = XMLHttpRequest.prototype || {};
  window.document = { domain: window.location.hostname, readyState: 'complete', documentElement: { style: {} }, cookie: '' };
  const script = path.join(path.dirname(require.resolve('socket.io-client-0.9/package.json')), 'dist', 'socket.io.js');
  vm.runInContext(fs.readFileSync(script, 'utf8'), vm.createContext(window), script);
  return window.io;
}

if (version === '1.0') {
  // The ws it came with does not run any more, and gave Buffers; a later one asks.
  const engine = path.dirname(require.resolve('engine.io-client/package.json'));
  const file = require.resolve('ws', { paths: [engine] });
  const WebSocket = require(file);
  require.cache[file].exports = class extends WebSocket {
    constructor(...args) {
      super(...args);
      Object.defineProperty(this, 'binaryType', { get: () => 'nodebuffer', set() {} });
    }
  };
}

const io = oldest ? browser09() : require('socket.io-client-' + version);

function options(more) {
  const o = {
    forceNew: true, 'force new connection': true,
    reconnectionDelay: 100, reconnectionDelayMax: 200, 'reconnection delay': 100, 'reconnection limit': 400,
    'max reconnection attempts': 50, randomizationFactor: 0.1, timeout: 20000, 'connect timeout': 20000,
  };
  if (oldest) {
    o.transports = transports === 'polling' ? ['xhr-polling'] : ['websocket', 'xhr-polling'];
    o['try multiple transports'] = transports === 'upgrade';
  } else if (transports !== 'upgrade') {
    o.transports = [transports];
  }
  return Object.assign(o, more);
}

function connect(namespace, more) {
  const query = version < '3' ? '?token=secret' : '';
  return io.connect(url + namespace + query, options(modern ? { auth: { token: 'secret' }, ...more } : more));
}

const event = (socket, name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));
const call = (socket, name, ...args) => new Promise((resolve) => socket.emit(name, ...args, (...answer) => resolve(answer)));
// Client 1.0 is from before Buffers had a .buffer, and takes that for the data.
const binary = (...list) => (version === '1.0'
  ? Object.defineProperty(Buffer.from(list), 'buffer', { value: undefined })
  : Buffer.from(list));
const bytes = (b) => (b instanceof ArrayBuffer ? [...new Uint8Array(b)] : [...Uint8Array.from(b)]);

function isBinary(v, want) {
  if (typeof v === 'string') return false;
  try {
    return JSON.stringify(bytes(v)) === JSON.stringify(want);
  } catch (e) {
    return false;
  }
}

async function main() {
  const refused = connect('/refusing');
  const [reason] = await Promise.race([event(refused, modern ? 'connect_error' : 'error'), event(refused, 'connect_failed')]);
  check('refused', modern ? reason.message === 'not you' && reason.data.code === 7 : true, reason && reason.message);
  refused.disconnect();

  const socket = connect('/');
  const reasons = [];
  socket.on('disconnect', (r) => reasons.push(r));
  await event(socket, 'connect');
  report('connected');
  if (modern) {
    const [auth] = await call(socket, 'auth');
    check('auth', auth.token === 'secret', auth);
  }

  const [echoed] = await call(socket, 'echo', { text: 'häßlich €😀', list: [1, [2, null]], more: { deep: true } });
  check('echo', JSON.stringify(echoed) === JSON.stringify({ text: 'häßlich €😀', list: [1, [2, null]], more: { deep: true } }), echoed);
  const several = await call(socket, 'echo', 1, 'two', [3]);
  check('several arguments', JSON.stringify(several) === '[1,"two",[3]]', several);

  socket.on('question', (n, answer) => answer(n * 2));
  const [doubled] = await call(socket, 'ask me', 21);
  check('server asks', doubled === 42, doubled);

  if (!oldest) {
    const [b] = await call(socket, 'echo', { at: { any: ['depth', binary(1, 2, 0, 255)] } });
    check('binary from client', isBinary(b.at.any[1], [1, 2, 0, 255]), b);
    const [c] = await call(socket, 'count bytes', binary(9, 9, 9));
    check('binary argument', c === 3, c);
    const heard = event(socket, 'blob');
    socket.emit('send me a blob');
    const [blob] = await heard;
    check('binary from server', isBinary(blob.data, [5, 4, 3]), blob);
  }

  const error = await call(socket, 'fails');
  check('handler error', error[0].error === 'not today', error);

  const other = connect('/');
  await event(other, 'connect');
  await call(socket, 'join', 'room');
  await call(other, 'join', 'room');
  const both = Promise.all([event(socket, 'heard'), event(other, 'heard')]);
  socket.emit('shout', 'room', 'wörd');
  check('room', JSON.stringify(await both) === '[["wörd"],["wörd"]]');
  const alone = event(other, 'whispered');
  socket.on('whispered', () => fail('room', new Error('the sender heard itself')));
  socket.emit('whisper', 'room', 'psst');
  check('room without the sender', (await alone)[0] === 'psst');

  const custom = connect('/custom');
  await event(custom, 'connect');
  const [name] = await call(custom, 'where');
  check('namespace', name === '/custom', name);
  if (oldest) {
    const [query] = await call(custom, 'query');
    check('query', query === 'secret', query);
  } else if (version !== '1.0') { // that has no way to say anything to a namespace
    const [auth] = await call(custom, 'auth');
    check('namespace auth', auth.token === 'secret', auth);
  }

  // Heartbeats: one follows the answer to the one before. The oldest do not tell of them.
  if (version >= '1.7') {
    let beats = 0;
    await new Promise((resolve) => {
      const beat = () => ++beats === 3 && resolve();
      if (modern) socket.io.engine.on('packet', (p) => p.type === 'ping' && beat());
      else socket.on('pong', beat);
    });
  } else {
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  check('survived heartbeats', reasons.length === 0, reasons);
  const [still] = await call(socket, 'echo', 'still');
  check('still there', still === 'still');
  const [carrier] = await call(socket, 'transport');
  check('transport', carrier === (transports === 'polling' ? 'polling' : 'websocket'), carrier);

  const gone = event(other, 'disconnect');
  other.emit('throw me out');
  const [thrown] = await gone;
  check('thrown out', oldest || thrown === 'io server disconnect' || thrown === 'transport close', thrown);

  const lost = event(socket, 'disconnect');
  report('restart');
  const [why] = await lost;
  check('lost', oldest || /transport (close|error)/.test(why), why);
  await event(socket, oldest ? 'reconnect' : 'connect');
  const [again] = await call(socket, 'echo', 'again');
  check('reconnected', again === 'again');

  custom.disconnect();
  socket.emit('leaving');
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.disconnect();
  report('done', { transport: carrier });
  clearTimeout(timer);
  setTimeout(() => process.exit(0), 300);
}

main().catch((error) => fail('exception', error));
