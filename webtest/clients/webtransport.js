// socket.io-client over WebTransport, in Chromium: node webtransport.js URL HASH SCRIPT
// HASH is the SHA-256 of the server's certificate, in base64; SCRIPT one of
//
//	alone     a client does everything that there is to do; the test then restarts the
//	          worker, and kills it, when a line on standard output asks for it
//	siblings  many clients change over from polling, so that some reach another worker; the
//	          test replaces each, and says so by a line on standard input
'use strict';
const assert = require('assert');
const path = require('path');
const { chromium } = require('playwright-core');
const [url, hash, script] = process.argv.slice(2);

const step = (name) => console.log(JSON.stringify({ step: name }));

// In the page: connect(transports) opens a client, which notes what it sees.
function setUp([url, hash]) {
  const value = Uint8Array.from(atob(hash), (c) => c.charCodeAt(0));
  const serverCertificateHashes = [{ algorithm: 'sha-256', value }];
  window.clients = [];
  window.within = (promise, what, ms = 25000) => Promise.race([promise,
    new Promise((_, no) => setTimeout(() => no(new Error('no ' + what)), ms))]);
  window.connect = async (transports) => {
    const socket = io(url, {
      transports, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, timeout: 5000,
      transportOptions: { webtransport: { serverCertificateHashes } },
    });
    const c = { socket, counted: [], reasons: [], said: [], lost: 0 };
    const i = clients.push(c) - 1;
    socket.on('counted', (n) => c.counted.push(n));
    socket.on('said', (n) => c.said.push(n));
    socket.on('question', (n, ack) => ack(n + 1));
    socket.on('disconnect', (reason) => c.reasons.push(reason));
    let began;
    await within(new Promise((done, no) => {
      socket.io.once('open', () => { began = socket.io.engine.transport.name; });
      socket.once('connect', done);
      socket.once('connect_error', (e) => no(new Error(transports + ': ' + e.message + ' ' + e.description)));
    }), 'connection by ' + transports);
    c.began = began;
    socket.on('connect', () => { if (!socket.recovered) c.lost++; });
    return i;
  };
  window.client = (i) => clients[i];
}

async function main(page) {
  page.setDefaultTimeout(30000);
  await page.goto(url);
  await page.addScriptTag({ path: path.join(__dirname, 'node_modules/socket.io-client-4/dist/socket.io.js') });
  await page.evaluate(setUp, [url, hash]);
  if (script === 'siblings') return siblings(page);

  // A session of its own.
  assert.deepStrictEqual(await page.evaluate(async () => {
    const c = client(await connect(['webtransport']));
    const s = c.socket;
    const bytes = (b) => [...new Uint8Array(b)];
    const result = { transport: await s.emitWithAck('transport'), began: c.began };
    result.text = await s.emitWithAck('echo', 'hello €', { a: [1, null] });
    result.asked = await s.emitWithAck('ask me', 41);
    result.binary = bytes(await s.emitWithAck('echo', Uint8Array.of(1, 2, 255).buffer));
    const large = new Uint8Array(300000).map((_, i) => i % 251);
    const back = new Uint8Array(await s.emitWithAck('echo', large));
    result.large = back.length === large.length && back.every((b, i) => b === large[i]);
    result.blobs = [];
    for (const size of [0, 1, 70000]) { // what is empty, the client itself could not send
      const blob = new Promise((done) => s.once('blob', done));
      s.emit('send me a blob', size);
      result.blobs.push((await within(blob, 'blob')).data.byteLength);
    }
    return result;
  }), {
    transport: 'webtransport', began: 'webtransport', text: 'hello €', asked: 42,
    binary: [1, 2, 255], large: true, blobs: [0, 1, 70000],
  });
  step('session');

  // The end: what was said before it comes, and the reason is right on both sides.
  assert.deepStrictEqual(await page.evaluate(async () => {
    const c = client(await connect(['webtransport']));
    const words = [];
    c.socket.on('last words', (w) => words.push(w));
    const left = new Promise((done) => c.socket.once('disconnect', done));
    c.socket.emit('throw me out');
    return [await within(left, 'disconnect'), words];
  }), ['io server disconnect', ['bye']]);
  step('thrown out');
  await page.evaluate(async () => client(await connect(['webtransport'])).socket.disconnect());
  step('disconnected');

  // From polling, also where WebSocket is there as well; nothing is lost on the way.
  for (const transports of [['polling', 'webtransport'], ['polling', 'websocket', 'webtransport']]) {
    assert.deepStrictEqual(await page.evaluate(upgrade, transports), { began: 'polling', transport: 'webtransport', counted: 200, ordered: true });
  }
  step('upgraded');

  // The worker is replaced, and killed. Clients hear of it at once, and come back.
  for (const what of ['restart', 'kill']) {
    await page.evaluate(() => { for (const c of clients) c.reasons = []; });
    step(what);
    await page.waitForFunction((killed) => {
      // Who says something to a worker that does not know it is told so.
      if (killed) for (const c of clients) if (c.socket.connected) c.socket.volatile.emit('pid');
      return [0, 3, 4].every((i) => clients[i].reasons.length > 0);
    }, what === 'kill', { polling: 50 });
    if (what === 'restart') {
      assert.deepStrictEqual(await page.evaluate(() => [0, 3, 4].map((i) => clients[i].reasons[0])), ['transport close', 'transport close', 'transport close']);
    }
    await page.waitForFunction(() => [0, 3, 4].every((i) => clients[i].socket.connected), null, { polling: 50 });
    assert.deepStrictEqual(await page.evaluate(async () => [await clients[0].socket.emitWithAck('transport'), await clients[0].socket.emitWithAck('echo', 'again')]), ['webtransport', 'again']);
  }
  step('back');
}

// upgrade opens a client on polling, and has the server count while it changes over.
async function upgrade(transports) {
  const c = client(await connect(transports));
  const s = c.socket;
  const upgraded = s.io.engine.transport.name === 'webtransport' ? Promise.resolve() : new Promise((done) => s.io.engine.once('upgrade', done));
  s.emit('count', 100);
  await within(upgraded, 'upgrade');
  s.emit('count', 100);
  const transport = await s.emitWithAck('transport');
  await within((async () => { while (c.counted.length < 200) await new Promise((r) => setTimeout(r, 10)); })(), 'events');
  return { began: c.began, transport, counted: c.counted.length, ordered: c.counted.every((n, i) => n === i % 100) };
}

// siblings has many clients change over. Whoever comes to the other worker is relayed.
async function siblings(page) {
  const all = await page.evaluate(async (source) => {
    const upgrade = eval('(' + source + ')');
    return Promise.all(Array.from({ length: 12 }, () => upgrade(['polling', 'webtransport'])));
  }, upgrade.toString());
  for (const one of all) assert.deepStrictEqual(one, { began: 'polling', transport: 'webtransport', counted: 200, ordered: true });
  step('upgraded');
  // Each worker is replaced, one after the other: whom it served or relayed comes back, and
  // has what was said meanwhile.
  await page.evaluate(() => {
    let next = 0;
    const talk = setInterval(() => {
      const there = clients.filter((c) => c.socket.connected);
      if (there.length > 0) there[next % there.length].socket.emit('say', next++);
    }, 5);
    window.quiet = () => clearInterval(talk);
  });
  for (const which of ['first', 'second']) {
    step(which);
    await page.waitForFunction((name) => window[name], which, { polling: 50 });
    await page.waitForFunction(() => clients.every((c) => c.socket.connected), null, { polling: 50 });
  }
  // The kernel shares the connections out anew when a worker comes or goes: some break then.
  const echoed = await page.evaluate(async () => Promise.all(clients.map(async (c, i) => {
    for (;;) {
      try {
        return await c.socket.timeout(20000).emitWithAck('echo', i);
      } catch {
        await within((async () => { while (!c.socket.connected) await new Promise((r) => setTimeout(r, 10)); })(), 'way back');
      }
    }
  })));
  assert.deepStrictEqual(echoed, Array.from(echoed.keys()));
  await page.evaluate(() => quiet());
  await page.waitForFunction(() => new Set(clients.map((c) => c.said.length)).size === 1, null, { polling: 50 }).catch(() => {});
  const said = await page.evaluate(() => clients.map((c) => ({ said: c.said.length, all: [...new Set(c.said)].sort((a, b) => a - b).join(), lost: c.lost })));
  console.log(JSON.stringify({ step: `${said[0].said} events` }));
  assert.ok(said[0].said > 10);
  for (const one of said) {
    assert.strictEqual(one.lost, 0, 'a session has not been recovered');
    assert.strictEqual(one.all, said[0].all, 'a client has missed something');
    assert.strictEqual(one.said, one.all.split(',').length, 'something came twice');
  }
  step('back');
}

(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error('page: ' + error));
  page.on('console', (m) => console.error('page: ' + m.text()));
  process.stdin.on('data', (line) => page.evaluate((what) => { window[what] = true; }, String(line).trim()).catch(() => {}));
  await main(page);
  await browser.close();
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
