// The Socket.IO Admin UI in Chromium: node adminui.js URL UI WORKERS
// URL is that of siblingsapp with --socketio-admin (ada, secret), UI where the page is served.
'use strict';
const assert = require('assert');
const { io } = require('socket.io-client-4');
const { chromium } = require('playwright-core');
const [url, ui, workers] = process.argv.slice(2);

// client connects, until it has got to a worker that is not one of pids.
async function client(pids) {
  for (;;) {
    const socket = io(url, { transports: ['websocket'], forceNew: true, reconnection: false });
    await new Promise((done, no) => { socket.once('connect', done); socket.once('connect_error', no); });
    const pid = await socket.timeout(20000).emitWithAck('pid');
    if (!pids.includes(pid)) {
      pids.push(pid);
      return socket;
    }
    socket.disconnect();
  }
}

const thrownOut = (socket) => new Promise((done) => socket.once('disconnect', done));

async function main(page) {
  page.setDefaultTimeout(30000);
  const pids = [];
  const a = await client(pids);
  const b = await client(workers === '1' ? [] : pids);
  const view = (path) => page.evaluate((to) => { window.location.hash = to; }, path);
  const row = (text) => page.locator('tbody tr', { hasText: text });

  // The login.
  await page.goto(ui);
  await page.getByLabel('Server URL').fill(url);
  await page.getByLabel('Username').fill('ada');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByText('Invalid credentials').waitFor();
  await page.getByLabel('Password').fill('secret');
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByLabel('Server URL').waitFor({ state: 'hidden' });
  console.log('logged in');

  // Two sockets in a room, whichever workers they are on.
  await view('#/sockets/');
  await row(a.id).waitFor();
  await row(b.id).waitFor();
  assert.match(await row(a.id).innerText(), /127\.0\.0\.1\s+WebSocket/);
  await view('#/rooms/');
  await row(/all\s*public\s*2/i).waitFor();
  console.log('rooms');

  // One joins a room: whoever throws that out, throws it out.
  await view('#/n/%2F/sockets/' + encodeURIComponent(a.id));
  await page.getByLabel('Join a room').fill('vip');
  await page.getByLabel('Join a room').press('Tab');
  await page.locator('form button[type=submit]:visible').last().click();
  await row('vip').waitFor();
  let out = thrownOut(a);
  await b.timeout(20000).emitWithAck('kick', 'vip');
  assert.strictEqual(await out, 'io server disconnect');
  console.log('joined');

  // The other is thrown out by the page.
  await view('#/sockets/');
  const id = b.id;
  out = thrownOut(b);
  await row(id).getByRole('button').click();
  assert.strictEqual(await out, 'io server disconnect');
  await page.waitForFunction(() => location.hash.includes('/n/')); // the click was one on the row, too
  await view('#/sockets/');
  await page.waitForFunction((gone) => !document.body.innerText.includes(gone), id);
  console.log('thrown out');

  // Who comes and what it says, as it happens.
  const c = await client([]);
  await row(c.id).waitFor();
  await c.timeout(20000).emitWithAck('echo', 'hello');
  await view('#/events/');
  await row('Event name: echo').waitFor();
  await view('#/servers/');
  for (let i = 0; i < Number(workers); i++) await row('Healthy').nth(i).waitFor();
  assert.strictEqual(await row('Healthy').count(), Number(workers));
  console.log('events and servers');

  // The session is good on every worker.
  for (let i = 0; i < 4; i++) {
    await page.reload();
    await view('#/sockets/');
    await row(c.id).waitFor();
    assert.strictEqual(await page.getByLabel('Server URL').isVisible(), false);
  }
  for (const s of [a, b, c]) s.disconnect();
}

(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error('page: ' + error));
  try {
    await main(page);
  } catch (error) {
    console.error(await page.evaluate(() => document.body.innerText));
    throw error;
  }
  await browser.close();
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
