// Opens the page of the echo app in Chromium, says something, and waits for the echo:
// node echo.js URL
"use strict";
const { chromium } = require("playwright-core");

async function main(url) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", e => errors.push(String(e)));
    await page.goto(url);
    await page.waitForSelector("#dot.open");
    for (const text of ["hello", "κόσμε ☕", "x".repeat(100000)]) {
      await page.fill("#text", text);
      await page.click("#send");
      await page.waitForFunction(t => [...document.querySelectorAll("#log .got")].some(li => li.firstChild.data === t), text);
    }
    await page.click("#toggle");
    await page.waitForFunction(() => document.querySelector("#log").textContent.includes("closed: 1000"));
    await page.click("#toggle");
    await page.waitForSelector("#dot.open");
    if (errors.length) throw new Error(errors.join("\n"));
    console.log("ok");
  } finally {
    await browser.close();
  }
}

main(process.argv[2]).catch(e => { console.error(e); process.exit(1); });
