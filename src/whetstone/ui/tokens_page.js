// The Tokens tab in the browser. `element` and `server` are given by Gradio; see tokens_tab.py for the server's side.

const PAUSE = 120; // ms without a key after which the server is asked
const POLL = 250; // ms between two looks at a job
const one = (id) => element.querySelector('#wh-tk-' + id);
const root = element.querySelector('.wh-tk');
const facts = new Map(); // what is known of pieces: name of their box -> key -> [[name, value], ...]

function say(words) {
  one('notice').textContent = words || '';
  one('notice').className = words ? 'wh-error' : '';
}

async function ask(name, asked) {
  try {
    return await server[name](asked);
  } catch {
    return { error: 'The server could not be asked: is it still running?' };
  }
}

const chosen = () => [...one('tokenizers').querySelectorAll('input[type=checkbox]:checked')].map((box) => box.value);

// One live view: asks in a pause, never twice at once, and shows only the answer to what was asked last.
function live(name, out, read) {
  let timer = null;
  let busy = false;
  let again = false;
  async function now() {
    if (busy) return void (again = true);
    busy = true;
    const asked = read();
    const found = await ask(name, asked);
    busy = false;
    if (again) {
      again = false;
      return now();
    }
    show(out, found);
  }
  return { now, soon: () => (clearTimeout(timer), (timer = setTimeout(now, PAUSE))) };
}

const frame = () => new Promise((later) => requestAnimationFrame(() => setTimeout(later, 0)));

// Parts are drawn one after the other, with room for keys in between; a newer answer ends the drawing of an older one.
async function show(out, found) {
  hideTip();
  const place = one(out);
  place.newest = found;
  if (found.error) {
    place.replaceChildren(sentence(found.error));
    return;
  }
  for (const [key, known] of Object.entries(found.facts || {})) facts.set(key, known);
  const parts = found.parts || [found.html];
  place.querySelectorAll(':scope > .wh-error').forEach((part) => part.remove());
  while (place.children.length > parts.length) place.lastElementChild.remove();
  for (const [number, html] of parts.entries()) {
    if (number) await frame();
    if (place.newest !== found) return;
    if (!place.children[number]) place.append(document.createElement('div'));
    draw(place.children[number], html);
  }
}

function draw(place, html) {
  if (place.drawn === html) return;
  place.drawn = html;
  const open = new Set([...place.querySelectorAll('details[open][data-keep]')].map((part) => part.dataset.keep));
  const scrolled = [...place.querySelectorAll('.wh-tk-pieces')].map((part) => part.scrollTop);
  place.innerHTML = html;
  place.querySelectorAll('details[data-keep]').forEach((part) => (part.open = open.has(part.dataset.keep)));
  place.querySelectorAll('.wh-tk-pieces').forEach((part, n) => (part.scrollTop = scrolled[n] || 0));
}

function sentence(words) {
  const part = document.createElement('p');
  part.className = 'wh-error';
  part.setAttribute('role', 'status');
  part.textContent = words;
  return part;
}

// The views.

const text = live('tokens_text', 'text-out', () => ({
  tokenizers: chosen(), text: one('text').value, special: one('special').checked, around: one('around').checked,
}));
const always = live('tokens_facts', 'facts-out', () => ({ tokenizers: chosen() }));
const chat = live('tokens_chat', 'chat-out', () => ({
  tokenizers: chosen(), messages: messagesJson(), tools: one('tools').value, generation: one('generation').checked,
}));
let seed = 0;
const rows = live('tokens_rows', 'rows-out', () => ({ tokenizers: chosen(), text: one('rows').value, seed }));
const vocabulary = live('tokens_vocabulary', 'vocabulary-out', () => ({
  tokenizers: chosen(), query: one('query').value, by: one('by').value,
}));
const views = { text: [text, always], chat: [chat], rows: [rows], vocabulary: [vocabulary], score: [], check: [] };
let view = 'text';
const refresh = () => views[view].forEach((each) => each.now());

function open(name) {
  view = name;
  for (const tab of root.querySelectorAll('[role=tab]')) {
    const on = tab.id === 'wh-tk-tab-' + name;
    tab.setAttribute('aria-selected', String(on));
    tab.tabIndex = on ? 0 : -1;
    one('view-' + tab.id.slice('wh-tk-tab-'.length)).hidden = !on;
  }
  hideTip();
  refresh();
}
const tabs = root.querySelector('[role=tablist]');
tabs.addEventListener('click', (event) => {
  const tab = event.target.closest('[role=tab]');
  if (tab) open(tab.id.slice('wh-tk-tab-'.length));
});
tabs.addEventListener('keydown', (event) => {
  const all = [...tabs.children];
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -all.length, End: all.length }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = all.indexOf(event.target);
  const next = Math.abs(step) === 1 ? (at + step + all.length) % all.length : step < 0 ? 0 : all.length - 1;
  all[next].focus();
  all[next].click();
});

one('text').addEventListener('input', text.soon);
for (const id of ['special', 'around']) one(id).addEventListener('change', text.now);
one('ids').addEventListener('change', () => one('text-out').classList.toggle('wh-tk-with-ids', one('ids').checked));
for (const id of ['json', 'tools']) one(id).addEventListener('input', chat.soon);
one('generation').addEventListener('change', chat.now);
one('rows').addEventListener('input', rows.soon);
one('rows-again').addEventListener('click', () => ((seed += 1), rows.now()));
one('rows-file').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  one('rows').value = await file.text();
  event.target.value = '';
  rows.now();
});
one('query').addEventListener('input', vocabulary.soon);
one('by').addEventListener('change', vocabulary.now);

// Tokenizers.

one('tokenizers').addEventListener('change', (event) => {
  if (event.target.type !== 'checkbox') return;
  say('');
  refresh();
});
async function add() {
  const name = one('other').value.trim();
  if (!name) return;
  one('add').disabled = true;
  const found = await ask('tokens_add', { name });
  one('add').disabled = false;
  say(found.error);
  if (found.error) return;
  one('other').value = '';
  choose(found.name, found.html);
  refresh();
}
function choose(name, html) {
  const known = [...one('tokenizers').querySelectorAll('input[type=checkbox]')].find((box) => box.value === name);
  if (known) known.checked = true;
  else if (html) one('tokenizers').querySelector('.wh-tk-more').insertAdjacentHTML('beforebegin', html);
}
if (one('add')) {
  one('add').addEventListener('click', add);
  one('other').addEventListener('keydown', (event) => event.key === 'Enter' && (event.preventDefault(), add()));
}

// Messages, as rows or as JSON.

const ROLES = ['system', 'user', 'assistant', 'tool', 'developer'];
let asJson = false;
const plain = (message) =>
  message && typeof message.role === 'string' && typeof message.content === 'string' && Object.keys(message).length === 2;
const parsed = () => {
  try {
    return JSON.parse(one('json').value);
  } catch {
    return null;
  }
};

function messageRow({ role, content }) {
  const row = document.createElement('div');
  row.className = 'wh-tk-message';
  const select = document.createElement('select');
  select.setAttribute('aria-label', 'Role');
  for (const name of ROLES.includes(role) ? ROLES : [...ROLES, role]) select.add(new Option(name, name, false, name === role));
  const field = document.createElement('textarea');
  field.setAttribute('aria-label', 'What is said');
  field.spellcheck = false;
  field.rows = Math.min(8, content.split('\n').length);
  field.value = content;
  const remove = document.createElement('button');
  remove.type = 'button';
  remove.className = 'wh-button';
  remove.textContent = 'Remove';
  row.append(select, field, remove);
  return row;
}
function messagesJson() {
  if (asJson) return one('json').value;
  const found = [...one('messages').children].map((row) => ({
    role: row.querySelector('select').value, content: row.querySelector('textarea').value,
  }));
  return JSON.stringify(found);
}
function showRows(messages) {
  one('messages').replaceChildren(...messages.map(messageRow));
}
function switchTo(json) {
  const found = json ? JSON.parse(messagesJson()) : parsed();
  if (!json && !(Array.isArray(found) && found.every(plain))) {
    say('These messages hold more than a role and a text each: they can only be edited as JSON.');
    return;
  }
  say('');
  if (json && !asJson) one('json').value = JSON.stringify(found, null, 1);
  if (!json) showRows(found);
  asJson = json;
  one('json-part').hidden = !json;
  one('messages').hidden = json;
  one('message-add').hidden = json;
  one('json-switch').textContent = json ? 'Edit as rows' : 'Edit as JSON';
  one('json-switch').setAttribute('aria-pressed', String(json));
}
one('json-switch').addEventListener('click', () => switchTo(!asJson));
one('messages').addEventListener('input', chat.soon);
one('messages').addEventListener('click', (event) => {
  if (!event.target.closest('button')) return;
  event.target.closest('.wh-tk-message').remove();
  one('message-add').focus();
  chat.now();
});
one('message-add').addEventListener('click', () => {
  const last = one('messages').lastElementChild;
  const role = last && last.querySelector('select').value === 'user' ? 'assistant' : 'user';
  one('messages').append(messageRow({ role, content: '' }));
  one('messages').lastElementChild.querySelector('textarea').focus();
  chat.now();
});
showRows(parsed());

// Work that takes a while.

function longWork(name, begin, follow, read, update) {
  const start = one(name + '-start');
  const stop = one(name + '-stop');
  if (!start) return;
  let job = null;
  start.addEventListener('click', async () => {
    const held = document.activeElement === start;
    start.disabled = true;
    one(name + '-out').replaceChildren();
    const begun = await ask(begin, read());
    if (begun.error) {
      start.disabled = false;
      return show(name + '-out', begun);
    }
    job = begun.job;
    stop.hidden = false;
    if (held) stop.focus();
    let seen = 0;
    for (;;) {
      const found = await ask(follow, { job, seen });
      seen = found.seen ?? seen;
      update(found);
      if (found.done || found.done === undefined) break;
      await new Promise((later) => setTimeout(later, POLL));
    }
    const ended = document.activeElement === stop;
    start.disabled = false;
    stop.hidden = true;
    if (ended) start.focus();
  });
  stop.addEventListener('click', () => ask('tokens_stop', { job }));
}
longWork('check', 'tokens_check', 'tokens_checked', () => ({ tokenizers: chosen().slice(0, 1) }), (found) => {
  one('check-out').innerHTML = found.html || '';
  if (found.error) one('check-out').append(sentence(found.error));
  else if (!found.done && !found.html) one('check-out').textContent = 'Loading …';
});
longWork('score', 'tokens_score', 'tokens_scored',
  () => ({ model: one('score-model').value, text: one('score-text').value }),
  (found) => {
    const out = one('score-out');
    if (!out.querySelector('.wh-tk-scored') && found.box) {
      out.innerHTML = '<p class="wh-note" role="status">Loading the model …</p><div data-facts="score">' + found.box + '</div>';
      facts.set('score', {});
    }
    if (found.summary) out.querySelector('p').innerHTML = found.summary;
    if (found.html) out.querySelector('.wh-tk-scored').insertAdjacentHTML('beforeend', found.html);
    Object.assign(facts.get('score') || {}, found.facts || {});
    if (found.error) {
      if (!found.seen) out.replaceChildren();
      out.append(sentence(found.error));
    }
  });

// What is known of a piece, beside it: for the pointer, a finger, and the arrow keys.

const tip = one('tip');
function hideTip() {
  tip.hidden = true;
  root.querySelectorAll('.wh-tk-pieces .on').forEach((piece) => piece.classList.remove('on'));
}
function showTip(piece) {
  const known = facts.get(piece.closest('[data-facts]')?.dataset.facts)?.[piece.dataset.k];
  if (!known) return;
  hideTip();
  piece.classList.add('on');
  const list = document.createElement('dl');
  for (const [name, value] of known) {
    const [term, told] = [document.createElement('dt'), document.createElement('dd')];
    term.textContent = name;
    told.textContent = value;
    list.append(term, told);
  }
  tip.replaceChildren(list);
  placeTip(piece);
}
function placeTip(piece) {
  tip.style.left = '0';
  tip.hidden = false;
  const [at, size] = [piece.getClientRects()[0] || piece.getBoundingClientRect(), tip.getBoundingClientRect()];
  const below = at.bottom + 6 + size.height < window.innerHeight;
  tip.style.left = Math.max(6, Math.min(at.left, document.documentElement.clientWidth - size.width - 6)) + 'px';
  tip.style.top = Math.max(6, below ? at.bottom + 6 : at.top - size.height - 6) + 'px';
}
// A page that scrolls under a pointer lying still moves pieces below it: nobody asked about those.
let pointer = '';
const where = (event) => `${event.screenX} ${event.screenY}`;
window.addEventListener('mousemove', (event) => (pointer = where(event)), { passive: true });
root.addEventListener('mouseover', (event) => {
  if (pointer === where(event)) return;
  const piece = event.target.closest('i[data-k]');
  if (piece) showTip(piece);
  else if (!root.querySelector('.wh-tk-pieces:focus')) hideTip();
});
root.addEventListener('mouseleave', hideTip);
root.addEventListener('click', (event) => {
  const piece = event.target.closest('i[data-k]');
  if (piece) showTip(piece);
});
root.addEventListener('focusout', (event) => event.target.matches('.wh-tk-pieces') && hideTip());
// Also when a box scrolls. Whoever walks through one by keys keeps the place.
const moved = () => {
  const piece = root.querySelector('.wh-tk-pieces:focus .on');
  if (piece && !tip.hidden) placeTip(piece);
  else hideTip();
};
window.addEventListener('scroll', moved, { passive: true, capture: true });
root.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !tip.hidden) {
    hideTip();
    event.stopPropagation();
    return;
  }
  const box = event.target.closest('.wh-tk-pieces');
  if (!box || !['ArrowRight', 'ArrowLeft', 'Home', 'End'].includes(event.key)) return;
  event.preventDefault();
  const pieces = box.querySelectorAll('i[data-k]');
  if (!pieces.length) return;
  const at = [...pieces].findIndex((piece) => piece.classList.contains('on'));
  const next = { ArrowRight: at + 1, ArrowLeft: at < 0 ? 0 : at - 1, Home: 0, End: pieces.length - 1 }[event.key];
  const piece = pieces[Math.max(0, Math.min(pieces.length - 1, next))];
  piece.scrollIntoView({ block: 'nearest' });
  showTip(piece);
});

// An answer of the Chat tab.

async function openAnswer() {
  const turn = window.whetstoneTokens;
  if (!turn) return;
  window.whetstoneTokens = null;
  const found = await ask('tokens_answer', { turn });
  say(found.error);
  if (found.error) return;
  one('tokenizers').querySelectorAll('input[type=checkbox]').forEach((box) => (box.checked = false));
  choose(found.tokenizer);
  one('text').value = found.text;
  one('special').checked = true;
  one('generation').checked = true;
  one('tools').value = '';
  if (found.messages) {
    const messages = JSON.parse(found.messages);
    one('json').value = found.messages;
    asJson = true; // what is in the field of JSON is what is meant
    switchTo(!messages.every(plain));
  }
  open(found.messages ? 'chat' : 'text');
  one('notice').textContent = found.note;
  one('notice').className = 'wh-note';
}
window.addEventListener('whetstone:tokens', openAnswer);
if (window.whetstoneTokens) openAnswer();
else refresh();
