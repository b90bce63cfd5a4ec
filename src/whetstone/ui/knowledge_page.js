// The Knowledge tab in the browser. `element` and `server` are given by Gradio; see knowledge_tab.py for the server's side.

const PAUSE = 200; // ms without a key after which the server is asked
const POLL = 250; // ms between two looks at work
const PIECE = 3 * 2 ** 20; // bytes of a file in one request
const CHOSEN = 'whetstone-knowledge'; // in the browser tab's memory: the knowledge base that was chosen last
const one = (id) => element.querySelector('#wh-kb-' + id);
const root = element.querySelector('.wh-kb');
const pause = (ms) => new Promise((later) => setTimeout(later, ms));
let base = '';
let folder = ''; // of a knowledge base that was named and not yet synced

async function ask(name, asked = {}) {
  try {
    return await server['knowledge_' + name]({ base, ...asked });
  } catch {
    return { error: 'The server could not be asked: is it still running?' };
  }
}

function sentence(words) {
  const part = document.createElement('p');
  part.className = 'wh-error';
  part.setAttribute('role', 'alert');
  part.textContent = words;
  return part;
}

function say(words) {
  one('notice').textContent = words || '';
  one('notice').className = words ? 'wh-error' : '';
}

// Puts an answer in its place; what was unfolded stays so.
function show(place, found) {
  const open = new Set([...place.querySelectorAll('details[open][data-keep]')].map((part) => part.dataset.keep));
  place.innerHTML = found.html || '';
  place.querySelectorAll('details[data-keep]').forEach((part) => (part.open ||= open.has(part.dataset.keep)));
  if (found.error) place.append(sentence(found.error));
  place.querySelectorAll('time[data-when]').forEach((time) => {
    const when = new Date(1000 * time.dataset.when);
    time.dateTime = when.toISOString();
    time.textContent = when.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  });
}

// Answers to what was asked before something newer are dropped.
const newest = {};
async function latest(id, name, asked) {
  const mine = (newest[id] = Symbol());
  const wanted = base;
  const found = await ask(name, asked);
  return newest[id] === mine && wanted === base ? found : null;
}

// The views.

function open(name, focus = false) {
  for (const tab of root.querySelectorAll('[role=tab]')) {
    const on = tab.id === 'wh-kb-tab-' + name;
    tab.setAttribute('aria-selected', String(on));
    tab.tabIndex = on ? 0 : -1;
    one('view-' + tab.id.slice('wh-kb-tab-'.length)).hidden = !on;
    if (on && focus) tab.focus();
  }
}
const opened = () => root.querySelector('[role=tab][aria-selected=true]').id.slice('wh-kb-tab-'.length);
const tabs = root.querySelector('[role=tablist]');
tabs.addEventListener('click', (event) => {
  const tab = event.target.closest('[role=tab]');
  if (tab) open(tab.id.slice('wh-kb-tab-'.length));
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

// Which knowledge base.

async function bases(wished) {
  const found = await ask('bases', { base: wished ?? sessionStorage.getItem(CHOSEN) ?? '' });
  say(found.error);
  if (found.error) return;
  one('base').innerHTML = found.html;
  one('choice').hidden = !found.base;
  making(!found.base);
  if (found.base !== base || !found.base) await choose(found.base);
  else await facts();
}

async function choose(name) {
  base = name;
  folder = '';
  followed = null;
  busy(false);
  one('base').value = name;
  if (name) sessionStorage.setItem(CHOSEN, name);
  one('upkeep').hidden = !name;
  for (const id of ['work', 'hits', 'measures', 'exchanges', 'document', 'documents', 'facts']) one(id).replaceChildren();
  said = [];
  reading(false);
  if (!name) {
    one('parts').hidden = true;
    one('facts').innerHTML = '<p class="wh-note">There is no knowledge base yet. Name one, and the folder of documents that it follows, or upload files.</p>';
    return;
  }
  const work = await facts();
  if (work) follow(work);
}

// What the chosen one is; which work there is on it.
async function facts() {
  const found = await latest('facts', 'facts');
  if (!found) return '';
  show(one('facts'), found);
  one('parts').hidden = !found.synced;
  one('adding').hidden = !found.uploads;
  one('type').innerHTML = found.filters?.type || '';
  one('in').innerHTML = found.filters?.folder || '';
  if (found.synced) await documents();
  return found.work;
}
one('base').addEventListener('change', () => (say(''), choose(one('base').value)));

function making(on) {
  one('making').hidden = !on;
  one('new').setAttribute('aria-expanded', String(on));
}
one('new').addEventListener('click', () => {
  making(one('making').hidden);
  if (!one('making').hidden) one('name').focus();
});
async function make() {
  const named = { base: one('name').value.trim(), folder: one('folder').value.trim(), new: true };
  one('work').innerHTML = '<p role="status">Looking at the folder …</p>';
  const found = await ask('plan', named);
  if (found.error) return show(one('work'), found);
  await choose('');
  one('facts').replaceChildren();
  [base, folder] = [found.base, named.folder];
  show(one('work'), found);
  one('work').querySelector('[data-sync]')?.focus();
}
one('make')?.addEventListener('click', make);
for (const id of ['name', 'folder']) {
  one(id)?.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && one('make')) event.preventDefault(), make();
  });
}

// Files that are uploaded.

const base64 = (blob) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
async function sendFile(name, file) {
  for (let at = 0; at === 0 || at < file.size; at += PIECE) {
    const last = at + PIECE >= file.size;
    let data;
    try {
      data = file.size ? await base64(file.slice(at, at + PIECE)) : '';
    } catch {
      return { error: `${file.name}: the file cannot be read` };
    }
    const found = await ask('upload', { base: name, name: file.name, data, at, last });
    if (found.error || last) return found;
  }
}
async function upload(name, field) {
  const files = [...field.files];
  field.value = '';
  const refused = [];
  let kept = '';
  for (const [number, file] of files.entries()) {
    one('work').innerHTML = '<p role="status"></p><progress aria-label="Progress"></progress>';
    one('work').querySelector('p').textContent = `Uploading ${number + 1} of ${files.length}: ${file.name}`;
    one('work').querySelector('progress').value = number / files.length;
    const found = await sendFile(kept || name, file);
    if (found.error) refused.push(found.error);
    else kept = found.base;
  }
  one('work').replaceChildren();
  if (kept) {
    if (kept !== base) await bases(kept);
    await plan();
  }
  for (const error of refused) one('work').prepend(sentence(error));
}
one('files').addEventListener('change', () => upload(base, one('files')));
one('first-files').addEventListener('change', () => upload(one('name').value.trim(), one('first-files')));

// Plans, and work that takes a while.

async function plan() {
  one('work').innerHTML = '<p role="status">Looking at the folder …</p>';
  const found = await latest('work', 'plan', { folder });
  if (!found) return;
  show(one('work'), found);
  one('work').querySelector('[data-sync]')?.focus();
}
const placeOf = (what) => one(what === 'evaluate' ? 'measures' : 'work');
let followed = null; // the newest loop that looks at work
function busy(on) {
  one('stop').hidden = !on;
  for (const id of ['plan', 'sync', 'check', 'evaluate']) one(id).disabled = on;
}
async function follow(what) {
  const mine = (followed = Symbol());
  let before = null;
  for (;;) {
    const found = await ask('work');
    if (followed !== mine) return false;
    if (found.html !== before || found.error) show(placeOf(what), found);
    before = found.html;
    busy(found.done === false);
    if (found.done !== false) return true;
    await pause(POLL);
  }
}
async function begin(name, asked, what) {
  const held = document.activeElement;
  const found = await ask(name, asked);
  if (found.error) return show(placeOf(what), found);
  base = found.base;
  one('upkeep').hidden = false;
  busy(true);
  if (!held?.isConnected || held.closest('#wh-kb-work, #wh-kb-upkeep, #wh-kb-view-evaluate')) one('stop').focus();
  if (!(await follow(what))) return;
  if (document.activeElement === document.body || document.activeElement === one('stop')) {
    one(what === 'evaluate' ? 'evaluate' : what === 'check' ? 'check' : 'sync').focus();
  }
  if (what !== 'sync') return;
  folder = '';
  one('name').value = '';
  if (one('folder')) one('folder').value = '';
  reading(false);
  await bases(base);
}
one('plan').addEventListener('click', plan);
one('sync').addEventListener('click', () => begin('sync', { folder }, 'sync'));
one('check').addEventListener('click', () => begin('check', {}, 'check'));
one('stop').addEventListener('click', () => ask('stop'));
root.addEventListener('click', async (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const { sync, rebuild, remove, search } = button.dataset;
  if (sync) begin('sync', { folder }, 'sync');
  else if (rebuild) {
    const named = one('facts').querySelector('[data-folder]')?.value || '';
    begin('sync', { rebuild: true, folder: named }, 'sync');
  } else if (remove) {
    const found = await ask('remove', { path: remove });
    if (found.error) show(one('work'), found);
    else await plan();
  } else if (search) {
    one('question').value = search;
    open('search');
    one('question').focus();
    searchNow();
  }
});

// Documents, and passages in them.

let shown = 0;
async function documents() {
  const found = await latest('documents', 'documents', { query: one('query').value, shown: shown || undefined });
  if (found) show(one('documents'), found);
}
let typing = null;
one('query').addEventListener('input', () => {
  shown = 0;
  clearTimeout(typing);
  typing = setTimeout(documents, PAUSE);
});
let back = null; // where a person came from: the view, and what was clicked there
function reading(on) {
  one('list').hidden = on;
  one('reading').hidden = !on;
}
async function readDocument(place, from) {
  if (from !== undefined) back = from;
  const found = await latest('document', 'document', place);
  if (!found) return;
  show(one('document'), found);
  reading(true);
  open('documents');
  const cited = one('document').querySelector('.wh-kb-cited');
  const heading = one('document').querySelector('[data-focus]');
  one('back').textContent = { search: 'Back to the search', ask: 'Back to the answer', chat: 'Back to the chat' }[back?.view] || 'Back to the documents';
  if (cited) cited.tabIndex = -1;
  (cited || heading)?.focus({ preventScroll: true });
  (cited || one('parts')).scrollIntoView({ block: 'start' });
}
root.addEventListener('click', (event) => {
  const button = event.target.closest('[data-path], [data-more]');
  if (!button || button.matches('[data-open-passage]')) return;
  if (button.dataset.more) {
    shown = Number(button.dataset.more);
    documents();
  } else if (button.dataset.first) readDocument({ path: button.dataset.path, first: button.dataset.first });
  else readDocument({ path: button.dataset.path }, { view: 'documents', path: button.dataset.path });
});
one('back').addEventListener('click', () => {
  reading(false);
  if (back?.view === 'chat') {
    [...document.querySelectorAll('button[role="tab"]')].find((b) => b.textContent.trim() === 'Chat')?.click();
    pause(0).then(() => back.link?.isConnected && back.link.focus());
    return;
  }
  open(back?.view || 'documents');
  const row = [...one('documents').querySelectorAll('[data-path]')].find((each) => each.dataset.path === back?.path);
  (back?.link?.isConnected ? back.link : row || one('query')).focus();
});
async function openPassage() {
  const place = window.whetstoneKnowledge;
  if (!place) return;
  window.whetstoneKnowledge = null;
  if (place.kb !== base) {
    await bases(place.kb);
    if (place.kb !== base) return say(`There is no knowledge base named ${place.kb} here.`);
  }
  if (!place.path && !place.source) return;
  const inside = place.from && root.contains(place.from);
  const view = inside ? opened() : place.from ? 'chat' : 'documents';
  await readDocument({ path: place.path, start: place.start, end: place.end, source: place.source }, { view, link: place.from });
}
window.addEventListener('whetstone:knowledge', openPassage);

// Search.

async function searchNow() {
  const asked = {
    question: one('question').value, mode: one('mode').value, k: one('k').value, type: one('type').value,
    folder: one('in').value, pattern: one('pattern').value, where: one('where').value,
  };
  const found = await latest('hits', 'search', asked);
  if (found) show(one('hits'), found);
}
one('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  one('hits').innerHTML = '<p class="wh-note" role="status">Searching …</p>';
  searchNow();
});

// Ask. What was said goes along with the next question; the page alone keeps it.

let said = [];
let asking = false;
async function askNow() {
  if (asking) return;
  const question = one('ask').value;
  const place = document.createElement('div');
  const mine = base;
  asking = true;
  one('ask-start').disabled = true;
  const begun = await ask('ask', { question, model: one('model').value, history: said });
  one('exchanges').querySelectorAll(':scope > .wh-error').forEach((part) => part.remove());
  if (begun.error) one('exchanges').append(sentence(begun.error));
  else {
    one('exchanges').append(place);
    one('ask').value = '';
    one('ask-stop').hidden = false;
    one('ask-stop').onclick = () => ask('stop', { job: begun.job });
    for (let before = null; ; ) {
      const found = await ask('asked', { job: begun.job });
      if (found.html !== before || found.error) show(place, found);
      before = found.html;
      if (found.done !== false) {
        if (mine === base && found.answer) said.push({ question, answer: found.answer });
        break;
      }
      place.scrollIntoView({ block: 'nearest' });
      await pause(POLL);
    }
    one('ask-stop').hidden = true;
  }
  asking = false;
  one('ask-start').disabled = false;
  one('ask').focus({ preventScroll: true });
}
one('ask-start').addEventListener('click', askNow);
one('ask').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  askNow();
});
one('ask-new').addEventListener('click', () => {
  said = [];
  one('exchanges').replaceChildren();
  one('ask').focus();
});

// Evaluate.

let questions = null;
one('questions').addEventListener('change', () => {
  [questions] = one('questions').files;
  one('questions-name').textContent = questions ? questions.name : 'Choose a file';
});
one('evaluate').addEventListener('click', async () => {
  let text = '';
  try {
    text = questions ? await questions.text() : '';
  } catch {
    return show(one('measures'), { error: `${questions.name}: the file cannot be read; choose it again` });
  }
  begin('evaluate', { name: questions?.name, text, mode: one('eval-mode').value, k: one('eval-k').value }, 'evaluate');
});

bases(window.whetstoneKnowledge?.kb).then(openPassage);
