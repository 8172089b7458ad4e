// What a server of Engine.IO 3 and 4 and of Socket.IO 5 owes to whoever speaks the bare
// protocol: run against ../protocolapp by ../protocol_test.go.
//
//	node protocol.js URL
//
// The server pings after 300 ms and waits 200 ms. One line of JSON for each check.
'use strict';
const path = require('path');
const WebSocket = require(require.resolve('ws', { paths: [path.dirname(require.resolve('socket.io-client-4/package.json'))] }));
const assert = require('assert');

const base = process.argv[2];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const checks = [];
const check = (name, f) => checks.push([name, f]);

// A websocket whose messages are waited for one by one.
function open(url) {
  const socket = new WebSocket(base.replace('http', 'ws') + url);
  const got = [];
  const waiting = [];
  socket.on('message', (data, isBinary) => {
    const m = isBinary ? [...data] : String(data);
    if (waiting.length) waiting.shift()(m);
    else got.push(m);
  });
  socket.on('error', () => {});
  socket.closed = new Promise((resolve) => socket.on('close', resolve));
  socket.opened = new Promise((resolve) => socket.on('open', resolve));
  socket.next = () => (got.length ? Promise.resolve(got.shift()) : new Promise((resolve) => waiting.push(resolve)));
  return socket;
}

async function within(ms, promise, what) {
  const late = Symbol();
  const result = await Promise.race([promise, sleep(ms).then(() => late)]);
  assert.notStrictEqual(result, late, what + ' within ' + ms + ' ms');
  return result;
}

const payload = { 4: (...p) => p.join('\x1e'), 3: (...p) => p.map((s) => s.length + ':' + s).join('') };
const strip = { 4: (s) => s, 3: (s) => s.slice(s.indexOf(':') + 1) };

for (const eio of [4, 3]) {
  const url = (more) => `/engine.io/?EIO=${eio}&transport=${more}`;
  const get = (more) => fetch(base + url(more));
  const post = (sid, body, headers) => fetch(base + url('polling&sid=' + sid), { method: 'POST', body, headers });
  const poll = (sid, more = '') => get('polling&sid=' + sid + more);
  const handshake = async () => JSON.parse(strip[eio](await (await get('polling')).text()).slice(1)).sid;
  const opened = (h, upgrades) => {
    assert.deepStrictEqual(Object.keys(h).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
    assert.deepStrictEqual([h.upgrades, h.pingInterval, h.pingTimeout, h.maxPayload], [upgrades, 300, 200, 1000000]);
  };
  const engine = (name, f) => check(`engine.io ${eio}: ${name}`, f);

  engine('polling opens', async () => {
    const response = await get('polling');
    assert.strictEqual(response.status, 200);
    const text = strip[eio](await response.text());
    assert.strictEqual(text[0], '0');
    opened(JSON.parse(text.slice(1)), ['websocket']);
  });
  engine('websocket opens', async () => {
    const socket = open(url('websocket'));
    const text = await socket.next();
    assert.strictEqual(text[0], '0');
    opened(JSON.parse(text.slice(1)), []);
    socket.close();
  });
  engine('bad queries are refused', async () => {
    for (const [query, code] of [['transport=polling', 5], ['EIO=abc&transport=polling', 5], [`EIO=${eio}`, 0], [`EIO=${eio}&transport=abc`, 0],
      [`EIO=${eio}&transport=polling&sid=nobody`, 1], [`EIO=${eio}&transport=websocket`, 3]]) {
      const response = await fetch(base + '/engine.io/?' + query);
      assert.strictEqual(response.status, 400, query);
      assert.strictEqual((await response.json()).code, code, query);
    }
    for (const method of ['POST', 'PUT']) {
      const response = await fetch(base + url('polling'), { method });
      assert.strictEqual(response.status, 400);
      assert.strictEqual((await response.json()).code, 2);
    }
    await open('/engine.io/?transport=websocket').closed;
    await open('/engine.io/?EIO=abc&transport=websocket').closed;
    await open(`/engine.io/?EIO=${eio}`).closed;
    await open(url('websocket&sid=nobody')).closed;
  });
  engine('polling carries text', async () => {
    const sid = await handshake();
    for (const list of [['4hello'], ['4test1', '4test2', '4test3']]) {
      const pushed = await post(sid, payload[eio](...list));
      assert.strictEqual(pushed.status, 200);
      assert.strictEqual(await pushed.text(), 'ok');
      assert.strictEqual(await (await poll(sid)).text(), payload[eio](...list));
    }
  });
  engine('polling carries binary as base64', async () => {
    const sid = await handshake();
    const body = payload[eio]('4hello', eio === 4 ? 'bAQIDBA==' : 'b4AQIDBA==');
    await post(sid, body);
    assert.strictEqual(await (await poll(sid, '&b64=1')).text(), body);
  });
  if (eio === 3) {
    engine('polling carries binary', async () => {
      const sid = await handshake();
      const body = Uint8Array.from([0, 6, 255, 0x34, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 1, 5, 255, 4, 1, 2, 3, 4]);
      assert.strictEqual((await post(sid, body, { 'Content-Type': 'application/octet-stream' })).status, 200);
      const response = await poll(sid);
      assert.strictEqual(response.headers.get('content-type'), 'application/octet-stream');
      assert.deepStrictEqual(new Uint8Array(await response.arrayBuffer()), body);
    });
    engine('jsonp', async () => {
      const opened = await (await get('polling&j=3')).text();
      assert.match(opened, /^___eio\[3\]\("/);
      const sid = /\\"sid\\":\\"([^"\\]+)/.exec(opened)[1];
      assert.strictEqual((await fetch(base + url('polling&j=3&sid=' + sid), { method: 'POST', body: new URLSearchParams({ d: '3:4a\\n' }) })).status, 200);
      assert.strictEqual(await (await poll(sid, '&j=1%3Bevil')).text(), '___eio[1]("3:4a\\n");');
    });
  }
  engine('websocket carries text and binary', async () => {
    const socket = open(url('websocket'));
    await socket.next();
    socket.send('4hello €');
    assert.strictEqual(await socket.next(), '4hello €');
    const bytes = eio === 4 ? [1, 2, 3, 4] : [4, 1, 2, 3, 4];
    socket.send(Uint8Array.from(bytes));
    assert.deepStrictEqual(await socket.next(), bytes);
    socket.close();
  });
  engine('invalid packets end the session', async () => {
    const sid = await handshake();
    assert.strictEqual((await post(sid, 'abc')).status, 400);
    assert.strictEqual((await poll(sid)).status, 400);
    const socket = open(url('websocket'));
    await socket.next();
    socket.send('abc');
    await within(1000, socket.closed, 'close');
  });
  engine('two polls end the session', async () => {
    const sid = await handshake();
    const first = poll(sid);
    await sleep(20);
    assert.strictEqual((await poll(sid, '&t=burst')).status, 400);
    assert.strictEqual(await (await first).text(), payload[eio]('1'));
    assert.strictEqual((await poll(sid)).status, 400);
  });
  engine('a cancelled poll ends the session', async () => {
    const sid = await handshake();
    const controller = new AbortController();
    fetch(base + url('polling&sid=' + sid), { signal: controller.signal }).catch(() => {});
    await sleep(30);
    controller.abort();
    await sleep(30);
    assert.strictEqual((await poll(sid)).status, 400);
  });
  engine('a body over maxPayload is 413', async () => {
    const sid = await handshake();
    const response = await post(sid, '4' + 'x'.repeat(1000000)).catch(() => null);
    if (response) assert.strictEqual(response.status, 413);
    assert.strictEqual((await poll(sid)).status, 400);
  });
  engine('heartbeats on polling', async () => {
    const sid = await handshake();
    for (let i = 0; i < 3; i++) {
      if (eio === 4) {
        assert.strictEqual(await (await poll(sid)).text(), '2');
        assert.strictEqual((await post(sid, '3')).status, 200);
      } else {
        assert.strictEqual((await post(sid, '1:2')).status, 200);
        assert.strictEqual(await (await poll(sid)).text(), '1:3');
      }
    }
  });
  engine('no heartbeat ends a polling session', async () => {
    const sid = await handshake();
    await sleep(500);
    assert.strictEqual((await (eio === 4 ? poll(sid) : post(sid, '1:2'))).status, 400);
  });
  engine('heartbeats on websocket, and their end', async () => {
    const socket = open(url('websocket'));
    await socket.next();
    for (let i = 0; i < 3; i++) {
      if (eio === 4) {
        assert.strictEqual(await socket.next(), '2');
        socket.send('3');
      } else {
        socket.send('2');
        assert.strictEqual(await socket.next(), '3');
      }
    }
    await within(900, socket.closed, 'close');
  });
  engine('a heartbeat in the wrong direction ends the session', async () => {
    const socket = open(url('websocket'));
    await socket.next();
    socket.send(eio === 4 ? '2' : '3');
    await within(250, socket.closed, 'close');
  });
  engine('the client closes', async () => {
    const sid = await handshake();
    const polling = poll(sid);
    await sleep(10);
    assert.strictEqual((await post(sid, payload[eio]('1'))).status, 200);
    assert.strictEqual(await (await polling).text(), payload[eio]('6'));
    assert.strictEqual((await poll(sid)).status, 400);
    const socket = open(url('websocket'));
    await socket.next();
    socket.send('1');
    await within(1000, socket.closed, 'close');
  });
  engine('upgrade', async () => {
    const sid = await handshake();
    const socket = open(url('websocket&sid=' + sid));
    await socket.opened;
    socket.send('2probe');
    assert.strictEqual(await socket.next(), '3probe');
    assert.strictEqual(await (await poll(sid)).text(), payload[eio]('6'));
    socket.send('5');
    socket.send('4hello');
    assert.strictEqual(await socket.next(), '4hello');
    assert.strictEqual((await poll(sid)).status, 400);
    const second = open(url('websocket&sid=' + sid));
    await within(1000, second.closed, 'close');
    socket.send('4still');
    assert.strictEqual(await socket.next(), '4still');
    socket.close();
  });
  engine('an upgrade ends the poll that waits, and nothing is lost', async () => {
    const sid = await handshake();
    const waiting = poll(sid);
    const socket = open(url('websocket&sid=' + sid));
    await socket.opened;
    socket.send('2probe');
    assert.strictEqual(await socket.next(), '3probe');
    assert.strictEqual(await (await waiting).text(), payload[eio]('6'));
    await post(sid, payload[eio]('4early'));
    socket.send('5');
    assert.strictEqual(await socket.next(), '4early');
    socket.close();
  });
  engine('an upgrade without a probe is none', async () => {
    const sid = await handshake();
    const socket = open(url('websocket&sid=' + sid));
    await socket.opened;
    socket.send('5');
    await within(1000, socket.closed, 'close');
    await post(sid, payload[eio]('4hello'));
    assert.strictEqual(await (await poll(sid)).text(), payload[eio]('4hello'));
  });
  engine('pages of other origins may connect', async () => {
    const response = await fetch(base + url('polling'), { headers: { Origin: 'https://elsewhere.example' } });
    assert.strictEqual(response.headers.get('access-control-allow-origin'), 'https://elsewhere.example');
    const preflight = await fetch(base + url('polling'), { method: 'OPTIONS', headers: { Origin: 'https://elsewhere.example', 'Access-Control-Request-Headers': 'x-a' } });
    assert.strictEqual(preflight.status, 204);
    assert.strictEqual(preflight.headers.get('access-control-allow-headers'), 'x-a');
  });
}

const io = '/socket.io/?EIO=4&transport=websocket';
const socketio = (name, f) => check('socket.io 5: ' + name, async () => {
  const socket = open(io);
  await socket.next();
  const next = socket.next;
  socket.next = async () => {
    for (;;) {
      const m = await next();
      if (m !== '2') return m;
      socket.send('3');
    }
  };
  await f(socket);
  socket.close();
});
async function connected(socket, namespace = '') {
  socket.send('40' + namespace);
  await socket.next();
  await socket.next();
}

for (const [namespace, payload] of [['', ''], ['', '{"token":"123"}'], ['/custom,', ''], ['/custom,', '{"token":"abc"}']]) {
  socketio(`connect to ${namespace || '/'} ${payload}`, async (socket) => {
    socket.send('40' + namespace + payload);
    const welcome = await socket.next();
    assert.ok(welcome.startsWith('40' + namespace));
    assert.deepStrictEqual(Object.keys(JSON.parse(welcome.slice(2 + namespace.length))), ['sid']);
    assert.strictEqual(await socket.next(), `42${namespace}["auth",${payload || '{}'}]`);
  });
}
socketio('unknown namespaces are refused', async (socket) => {
  socket.send('40/random');
  assert.strictEqual(await socket.next(), '44/random,{"message":"Invalid namespace"}');
});
for (const [what, packet] of Object.entries({
  garbage: '4abc', 'an event before CONNECT': '42["message"]', 'a reserved type': '49', 'an ack before CONNECT': '431[]',
})) {
  socketio(what + ' closes', async (socket) => {
    socket.send(packet);
    await within(500, socket.closed, 'close');
  });
}
for (const [what, packets] of Object.entries({
  'CONNECT twice': ['40'], 'a name that is no string': ['42[{}]'], 'no name': ['42[]'], 'no array': ['42{}'], 'a reserved name': ['42["connect"]'],
  'binary that was not promised': [Uint8Array.from([1])], 'text in place of binary': ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
  'a placeholder out of range': ['451-["message",{"_placeholder":true,"num":1}]'], '10^9 attachments': ['451000000000-["message"]'],
  'a placeholder in an ack': ['461-1[{"_placeholder":true,"num":5}]'], 'deep nesting': ['42["message",' + '['.repeat(5000) + ']'.repeat(5000) + ']'],
  'broken JSON': ['42["message"'], 'CONNECT_ERROR from a client': ['44{"message":"x"}'],
})) {
  socketio(what + ' closes', async (socket) => {
    await connected(socket);
    for (const p of packets) socket.send(p);
    await within(500, socket.closed, 'close');
  });
}
socketio('an ack to nothing is ignored', async (socket) => {
  await connected(socket);
  socket.send('43999["x"]');
  socket.send('42["__proto__",{"__proto__":1}]');
  socket.send('42["message",{"__proto__":{"a":1}}]');
  assert.strictEqual(await socket.next(), '42["message-back",{"__proto__":{"a":1}}]');
});
socketio('connect timeout', async (socket) => {
  await within(1600, (async () => { await socket.next(); })().catch(() => {}) && socket.closed, 'close');
});
socketio('a namespace can be left', async (socket) => {
  await connected(socket);
  await connected(socket, '/custom');
  socket.send('41/custom');
  socket.send('42["message","to main"]');
  assert.strictEqual(await socket.next(), '42["message-back","to main"]');
});
socketio('messages', async (socket) => {
  await connected(socket);
  socket.send('42["message",1,"2",{"3":[true]}]');
  assert.strictEqual(await socket.next(), '42["message-back",1,"2",{"3":[true]}]');
  socket.send('42456["message-with-ack",1,"2",{"3":[false]}]');
  assert.strictEqual(await socket.next(), '43456[1,"2",{"3":[false]}]');
});
socketio('binary', async (socket) => {
  await connected(socket);
  const two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
  for (const [sent, answered] of [[`452-["message",${two}]`, `452-["message-back",${two}]`], [`452-789["message-with-ack",${two}]`, `462-789[${two}]`]]) {
    socket.send(sent);
    socket.send(Uint8Array.from([1, 2, 3]));
    socket.send(Uint8Array.from([4, 5, 6]));
    assert.deepStrictEqual([await socket.next(), await socket.next(), await socket.next()], [answered, [1, 2, 3], [4, 5, 6]]);
  }
});

(async () => {
  let failed = 0;
  // A few at a time: with 300 ms between heartbeats a busy machine fails everything.
  await Promise.all(Array.from({ length: 6 }, async () => {
    while (checks.length) {
      const [name, f, tries = 3] = checks.shift();
      try {
        await within(8000, f(), name);
        process.stdout.write(JSON.stringify({ name }) + '\n');
      } catch (error) {
        if (tries > 1) {
          checks.push([name, f, tries - 1]);
          continue;
        }
        failed++;
        process.stdout.write(JSON.stringify({ name, error: String(error.stack).slice(0, 600) }) + '\n');
      }
    }
  }));
  process.exit(failed ? 1 : 0);
})();
