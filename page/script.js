/** Sends an instruction to POST /generate and shows every pass as it comes. */
import { events } from './event-stream.js';

const element = (id) => document.getElementById(id);
const form = element('form');
const prompt = element('prompt');
const passes = element('passes');

/** How long each pass is shown before the next one, if it is to be watched: milliseconds. */
const pace = 500;

let running = null;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void ask();
});
element('stop').addEventListener('click', () => running?.abort());
prompt.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
void describeModel();

async function describeModel() {
  const { name, examples, iterations, characters } = await (await fetch('/page/model.json')).json();
  element('model').textContent = name;
  element('iterations').max = iterations;
  element('iterations').value = Math.min(4, iterations);
  prompt.maxLength = characters;
  for (const example of examples) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = example;
    button.addEventListener('click', () => {
      prompt.value = example;
      form.requestSubmit();
    });
    element('examples').append(button);
  }
  element('examples').hidden = examples.length === 0;
}

/** Asks for what the form says, instead of what was asked before. */
async function ask() {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  begin();
  try {
    const response = await fetch('/generate', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request()),
      signal: controller.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error);
    await show(response.body, controller.signal);
  } catch (error) {
    if (running === controller) fail(controller.signal.aborted ? 'Stopped.' : inWords(error));
  } finally {
    if (running === controller) end();
  }
}

function request() {
  const number = (id) => (element(id).value === '' ? undefined : Number(element(id).value));
  const seed = number('seed');
  return {
    prompt: prompt.value,
    iterations: number('iterations'),
    length: number('length'),
    sampling: seed === undefined ? undefined : { seed },
    stream: true,
  };
}

function begin() {
  element('error').textContent = '';
  element('answer').textContent = '';
  element('details').textContent = '';
  passes.replaceChildren();
  element('result').setAttribute('aria-busy', 'true');
  element('stop').hidden = false;
}

function end() {
  running = null;
  element('result').setAttribute('aria-busy', 'false');
  element('stop').hidden = true;
}

function fail(message) {
  element('error').textContent = message;
  element('result').hidden = passes.childElementCount === 0;
}

function inWords(error) {
  return error instanceof TypeError ? 'The server does not answer. Is it running?' : error.message;
}

async function show(body, signal) {
  let finished = false;
  for await (const { event, data } of events(body)) {
    signal.throwIfAborted();
    if (event === 'error') throw new Error(data.error);
    element('result').hidden = false;
    if (event === 'iteration') passes.append(renderPass(data));
    if (event === 'done') {
      finished = true;
      renderAnswer(data);
    } else if (element('slow').checked) {
      await new Promise((resolve) => setTimeout(resolve, pace));
    }
  }
  signal.throwIfAborted();
  if (!finished) throw new Error('The server stopped before the answer was complete.');
}

function renderPass({ tokens }) {
  const item = document.createElement('li');
  for (const [index, token] of tokens.entries()) {
    const { space, word } = spaced(token, index === 0);
    item.append(space, renderToken(token, word));
  }
  return item;
}

function renderToken({ score, masked }, word) {
  const probability = Math.exp(score);
  const token = document.createElement('span');
  token.className = masked ? 'token masked' : 'token';
  token.dataset.certainty = String(Math.min(4, Math.floor(5 * probability)));
  const percent = Math.round(100 * probability);
  token.title = `${percent} % certain${masked ? ', masked again' : ''}`;
  const text = document.createElement('span');
  text.textContent = word;
  const number = document.createElement('small');
  number.textContent = String(percent);
  token.append(text, number);
  const spoken = document.createElement('span');
  spoken.className = 'spoken';
  spoken.textContent = ` percent${masked ? ', masked again' : ''}, `;
  token.append(spoken);
  return token;
}

/** A piece as it stands in the text; one that is nothing but a space is shown as such. */
function spaced({ piece }, first) {
  if (piece === '▁') return { space: '', word: '␣' };
  const begins = piece.startsWith('▁');
  const word = (begins ? piece.slice(1) : piece).replaceAll('▁', ' ');
  return { space: begins && !first ? ' ' : '', word };
}

function renderAnswer({ text, length, iterations, timings, truncated }) {
  element('answer').textContent = text;
  const tokens = length === 1 ? '1 token' : `${length} tokens`;
  const count = iterations === 1 ? '1 pass' : `${iterations} passes`;
  const cut = truncated ? '; the instruction was too long and only its beginning was read' : '';
  element('details').textContent = `${tokens}, ${count}, ${timings.total.toFixed(1)} ms${cut}`;
}
