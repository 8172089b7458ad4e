// A page with the client of Socket.IO 0.9, in Chromium: see ../clients_test.go.
//
//	node page09.js URL
'use strict';
const assert = require('assert');
const path = require('path');
const { chromium } = require('playwright-core');

(async () => {
  const url = process.argv[2];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const page = await browser.newPage();
  await page.goto(url + '/socket.io/socket.io.min.js'); // any page of this origin
  await page.addScriptTag({ path: path.join(path.dirname(require.resolve('socket.io-client-0.9/package.json')), 'dist', 'socket.io.js') });
  for (const transports of [['websocket'], ['xhr-polling']]) {
    const seen = await page.evaluate((transports) => new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error(transports + ' takes too long')), 60000);
      const socket = window.io.connect('', { transports, 'force new connection': true });
      socket.on('connect', () => {
        socket.emit('join', 'page', () => socket.emit('echo', 'häßlich €', { n: [1] }, (text, object) => {
          socket.on('heard', (word) => {
            resolve([socket.socket.transport.name, text, object, word]);
            socket.disconnect();
          });
          socket.emit('shout', 'page', 'wörd');
        }));
      });
    }), transports);
    assert.strictEqual(JSON.stringify(seen), JSON.stringify([transports[0], 'häßlich €', { n: [1] }, 'wörd']));
  }
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
