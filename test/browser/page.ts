/**
 * The page of `mask-predict serve` in a real browser: `npm run test:browser`, not part of `npm test`. Needs
 * chromium (CHROMIUM, default /usr/bin/chromium). Leaves pictures in build/browser/.
 */
/// <reference lib="dom" />
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium, type BrowserContextOptions, type Page } from 'playwright-core';
import t from 'tap';
import { serving } from '../serving.js';

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
if (!existsSync(executablePath)) throw new Error(`there is no ${executablePath}; set CHROMIUM`);
const pictures = fileURLToPath(new URL('../../build/browser', import.meta.url));
mkdirSync(pictures, { recursive: true });

const instruction = 'Translate the following text from French to German: six mille soixante';
const example = 'Write the number 3 in English words.';

const { model, server, url, close } = await serving({}, [example]);
t.teardown(close);
// A fresh profile, and nothing that looks for a network.
const browser = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
t.teardown(() => browser.close());

/** The page, and what its console and its requests complained about. */
async function open(options: BrowserContextOptions = {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  const strangers: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('request', (request) => {
    const address = request.url();
    if (!address.startsWith(url) && !address.startsWith('data:')) strangers.push(address);
  });
  await page.goto(url);
  await page.getByRole('button', { name: example }).waitFor();
  return { context, page, complaints, strangers };
}

const tokensOf = (page: Page, pass: number) =>
  page
    .locator('#passes li')
    .nth(pass)
    .locator('.token')
    .evaluateAll((tokens) =>
      tokens.map((token) => ({
        word: token.firstElementChild!.textContent,
        certainty: Number((token as { dataset?: { certainty?: string } }).dataset?.certainty),
        masked: token.classList.contains('masked'),
        title: token.getAttribute('title'),
      })),
    );

t.test('an instruction is typed and its passes are watched', async (t) => {
  const { context, page, complaints, strangers } = await open();
  t.equal(await page.title(), 'mask-predict');
  t.equal(await page.locator('#model').textContent(), 'numbers');

  await page.getByLabel('Instruction').fill(instruction);
  await page.getByLabel('Instruction').press('Enter');
  await page.locator('#passes li').first().waitFor();
  t.equal(await page.locator('#passes li').count(), 1, 'the first pass is there before the others');
  t.equal(await page.getByRole('status').textContent(), '', 'and before the answer');
  t.equal(await page.locator('#result').getAttribute('aria-busy'), 'true');
  t.ok(await page.getByRole('button', { name: 'Stop' }).isVisible());
  await page.getByText('sechstausendsechzig', { exact: true }).waitFor();
  t.equal(await page.locator('#result').getAttribute('aria-busy'), 'false');
  t.notOk(await page.getByRole('button', { name: 'Stop' }).isVisible());

  const steps = [];
  for await (const step of model.refine(instruction, { iterations: 4 })) steps.push(step);
  t.equal(await page.locator('#passes li').count(), steps.length);
  for (const [pass, step] of steps.entries()) {
    const expected = step.tokens.map(({ piece, score, masked }) => {
      const percent = Math.round(100 * Math.exp(score));
      return {
        word: piece.replace('▁', ''),
        certainty: Math.min(4, Math.floor(5 * Math.exp(score))),
        masked,
        title: `${percent} % certain${masked ? ', masked again' : ''}`,
      };
    });
    t.same(await tokensOf(page, pass), expected, `pass ${pass + 1}`);
  }
  t.match(await page.locator('#details').textContent(), /^3 tokens, 3 passes, \d+\.\d ms$/);
  await page.screenshot({ path: `${pictures}desktop-light.png`, fullPage: true });
  t.same(complaints, []);
  t.same(strangers, [], 'nothing is loaded from elsewhere');
  await context.close();
});

t.test('colours and marks differ, and the words stay legible', async (t) => {
  for (const colorScheme of ['light', 'dark'] as const) {
    const { context, page } = await open({ colorScheme });
    await page.getByLabel('Slow enough to watch').uncheck();
    await page.getByLabel('Instruction').fill(instruction);
    await page.getByRole('button', { name: 'Answer' }).click();
    await page.getByText('sechstausendsechzig', { exact: true }).waitFor();
    const styles = await page.locator('.scale .token').evaluateAll((tokens) =>
      tokens.map((token) => {
        const { backgroundColor, color } = getComputedStyle(token);
        return { backgroundColor, color };
      }),
    );
    t.equal(new Set(styles.map(({ backgroundColor }) => backgroundColor)).size, 5, colorScheme);
    for (const { backgroundColor, color } of styles) {
      const ratio = contrast(backgroundColor, color);
      t.ok(ratio >= 4.5, `${color} on ${backgroundColor}: ${ratio.toFixed(1)}`); // WCAG 2.1, AA
    }
    const borders = await page
      .locator('#passes .masked')
      .evaluateAll((tokens) => tokens.map((token) => getComputedStyle(token).borderTopStyle));
    t.same(borders, ['dashed', 'dashed', 'dashed'], 'masked tokens are dashed');
    await page.screenshot({ path: `${pictures}${colorScheme}.png`, fullPage: true });
    await context.close();
  }
});

t.test('everything works from the keyboard and has a name', async (t) => {
  const { context, page } = await open();
  for (const name of ['Instruction', 'Passes', 'Length', 'Sampling seed']) {
    const field = page.getByRole(name === 'Instruction' ? 'textbox' : 'spinbutton', { name });
    t.equal(await field.count(), 1, name);
  }
  await page.getByLabel('Instruction').focus();
  await page.keyboard.press('Tab');
  const focused = page.locator(':focus');
  t.equal(await focused.textContent(), example);
  await page.keyboard.press('Enter');
  await page.getByRole('status').filter({ hasText: 'three' }).waitFor();
  t.equal(await page.getByLabel('Instruction').inputValue(), example);
  await context.close();
});

t.test('a narrow screen shows it all without scrolling sideways', async (t) => {
  const { context, page } = await open({
    viewport: { width: 320, height: 640 },
    isMobile: true,
    hasTouch: true,
    colorScheme: 'dark',
  });
  await page.getByRole('button', { name: example }).tap();
  await page.getByRole('status').filter({ hasText: 'three' }).waitFor();
  await page.getByLabel('Slow enough to watch').uncheck();
  await page.getByLabel('Instruction').fill(instruction);
  await page.getByRole('button', { name: 'Answer' }).tap();
  await page.getByText('sechstausendsechzig', { exact: true }).waitFor();
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  t.equal(width, 320);
  await page.screenshot({ path: `${pictures}phone-dark.png`, fullPage: true });
  await context.close();
});

t.test('what goes wrong is said in words', async (t) => {
  const { context, page } = await open();
  await page.getByLabel('Instruction').fill(instruction);
  await page.getByLabel('Length').fill('5000');
  await page.getByRole('button', { name: 'Answer' }).click();
  const alert = page.getByRole('alert');
  await alert.filter({ hasText: 'length must be an integer from 1 to 126, not 5000' }).waitFor();
  await page.screenshot({ path: `${pictures}error.png`, fullPage: true });

  await page.getByLabel('Length').fill('3');
  await page.getByRole('button', { name: 'Answer' }).click();
  await page.locator('#passes li').first().waitFor();
  t.equal(await alert.textContent(), '', 'the message goes with the next question');
  await page.getByRole('button', { name: 'Stop' }).click();
  await alert.filter({ hasText: 'Stopped.' }).waitFor();

  await server.close(0);
  await page.getByRole('button', { name: 'Answer' }).click();
  await alert.filter({ hasText: 'The server does not answer. Is it running?' }).waitFor();
  t.pass('three times');
  await context.close();
});

/** Contrast of two colours `rgb(r, g, b)` by WCAG 2.1: 1 to 21. */
function contrast(one: string, other: string): number {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour: string): number {
  const [red, green, blue] = colour.match(/\d+/g)!.map((part) => {
    const value = Number(part) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
