// Two people in the built-in chat, in Chromium: see ../chat_test.go.
//
//	node chat.js URL SCREENSHOTS
'use strict';
const assert = require('assert');
const path = require('path');
const { chromium } = require('playwright-core');
const [url, folder] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const problems = [];
  const person = async (name, options) => {
    const page = await (await browser.newContext(options)).newPage();
    page.on('pageerror', (error) => problems.push(name + ': ' + error));
    page.on('console', (m) => m.type() === 'error' && problems.push(name + ': ' + m.text()));
    await page.goto(url);
    await page.fill('#name', name);
    await page.click('#enter button');
    await page.waitForSelector('#chat:not([hidden])');
    return page;
  };
  const ada = await person('Ada', { viewport: { width: 1100, height: 700 }, colorScheme: 'light' });
  const say = async (page, text) => { await page.fill('#text', text); await page.press('#text', 'Enter'); };
  const sees = (page, text) => page.waitForFunction((t) => document.querySelector('#messages').innerText.includes(t), text);
  await say(ada, 'Hello? Is anybody here?');
  await sees(ada, 'anybody here');

  const bob = await person('Bob', { viewport: { width: 390, height: 750 }, colorScheme: 'dark', isMobile: true, hasTouch: true });
  await sees(bob, 'anybody here'); // what was said before
  await ada.waitForFunction(() => document.querySelector('#people').innerText.includes('Bob'));
  await bob.type('#text', 'Me! <b>€');
  await ada.waitForFunction(() => document.querySelector('#typing').innerText.includes('Bob is typing'));
  await bob.press('#text', 'Enter');
  await sees(ada, 'Me! <b>€'); // as text
  await say(ada, 'Good. This is a longer message, so that one sees how lines break when there is more to say than fits on one of them, on a phone or elsewhere.');
  await sees(bob, 'longer message');
  await ada.screenshot({ path: path.join(folder, 'chat-light.png') });
  await bob.screenshot({ path: path.join(folder, 'chat-dark.png') });

  await bob.close();
  await ada.waitForFunction(() => !document.querySelector('#people').innerText.includes('Bob'));
  const eve = await person('Eve', { viewport: { width: 1100, height: 700 }, colorScheme: 'dark' });
  await eve.screenshot({ path: path.join(folder, 'chat-dark-wide.png') });
  const width = await eve.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(width <= 0, 'the page is wider than its window');
  assert.deepStrictEqual(problems, []);
  await browser.close();
  console.log('ok');
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
