// Opens reports in headless Chromium and fails on a console error, a request to the network, a page that scrolls sideways
// or a chart that is not drawn, at 1280 and 400 pixels, in light and dark. Screenshots go to a folder.
//
//   npm install playwright-core          # in a folder that NODE_PATH or the working directory finds
//   node tools/report-check.mjs OUTDIR report.html...
//
// CHROMIUM names the browser (/usr/bin/chromium).
import { createRequire } from "node:module";
import { mkdirSync, statSync } from "node:fs";
import path from "node:path";

const { chromium } = createRequire(path.join(process.cwd(), "x.js"))("playwright-core");
const [out, ...files] = process.argv.slice(2);
if (!files.length) {
  console.error("usage: node tools/report-check.mjs OUTDIR report.html...");
  process.exit(2);
}
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let faults = 0;
const fault = text => { faults++; console.error("  FAULT " + text); };
for (const file of files) {
  const size = statSync(file).size;
  console.log(`${file}: ${(size / 1e6).toFixed(2)} MB`);
  if (size >= 3e6) fault("3 MB or more");
  for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [400, "light"], [400, "dark"]]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
    const page = await context.newPage();
    page.on("console", m => { if (m.type() === "error" || m.type() === "warning") fault(`${width} ${scheme}: console ${m.type()}: ${m.text()}`); });
    page.on("pageerror", e => fault(`${width} ${scheme}: ${e.stack}`));
    page.on("request", r => { if (!/^(file|data):/.test(r.url())) fault(`${width} ${scheme}: request to ${r.url()}`); });
    await page.goto("file://" + path.resolve(file));
    await page.waitForTimeout(400);
    const seen = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      bare: [...document.querySelectorAll("[data-chart]")].filter(e => !e.childNodes.length).map(e => e.dataset.chart),
      broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
      charts: document.querySelectorAll("[data-chart] svg").length,
    }));
    if (seen.wide > 0) fault(`${width} ${scheme}: ${seen.wide} pixels too wide`);
    if (seen.bare.length) fault(`${width} ${scheme}: not drawn: ${seen.bare}`);
    if (seen.broken) fault(`${width} ${scheme}: ${seen.broken} pictures do not show`);
    const shot = path.join(out, `${path.basename(file, ".html")}-${width}-${scheme}.png`);
    await page.screenshot({ path: shot, fullPage: true });
    console.log(`  ${width} ${scheme}: ${seen.charts} charts, ${shot}`);
    if (width === 1280 && scheme === "light") { // resized, the charts follow
      await page.setViewportSize({ width: 700, height: 900 });
      await page.waitForTimeout(300);
      const over = await page.evaluate(() => [...document.querySelectorAll("[data-chart] svg")].filter(s => Math.abs(s.clientWidth - s.closest("[data-chart]").clientWidth) > 1).length);
      if (over) fault(`${over} charts do not follow a resize`);
    }
    await context.close();
  }
}
await browser.close();
process.exit(faults ? 1 : 0);
