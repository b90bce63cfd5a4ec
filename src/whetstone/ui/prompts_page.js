// The Prompts tab in the browser; see prompts_tab.py for the server's side, and lab_page.js and lab_job.js for the rest.

const { one, ask, open, onOpen } = laboratory('wh-pp', 'prompts');
const TYPING = 350; // ms of rest after which a text is checked
let original = ''; // the text as it was opened
let beside = null; // what the person chose to see beside it
let variables = null; // of which the fields below the editor are

const draft = () => ({ name: one('name').value.trim(), source: one('source').value });

// The library.

async function list() {
  const found = await ask('list');
  show(one('list'), found.html, found.error);
}
onOpen((view) => view === 'library' && list());
one('list').addEventListener('click', async (event) => {
  const link = event.target.closest('[data-open], [data-card]');
  if (!link) return;
  const { open: prompt, card } = link.dataset;
  await edit(await (prompt ? ask('open', { prompt }) : ask('card', { card, prompt: link.dataset.prompt })), card);
});
one('new').addEventListener('click', async () => edit(await ask('new')));

// The editor.

async function edit(found, card) {
  if (found.error) return show(one('list'), one('list').innerHTML, found.error);
  one('name').value = found.name;
  one('source').value = original = found.source;
  one('saved').textContent = '';
  beside = null;
  if (card) one('card').value = card;
  open('edit', true);
  await check();
}
one('version').addEventListener('change', async () => {
  if (one('version').value) await edit(await ask('open', { prompt: `${one('name').value}@${one('version').value}` }));
});

one('beside').addEventListener('change', () => (beside = one('beside').value));

let checking = null;
async function check() {
  const mine = (checking = Symbol());
  const sent = draft();
  sessionStorage.setItem('wh-prompts-draft', JSON.stringify({ ...sent, original }));
  const found = await ask('check', sent);
  if (checking !== mine) return;
  if (found.error) return show(one('state'), '', found.error);
  show(one('state'), found.state);
  show(one('diff'), found.diff);
  one('back').hidden = one('source').value === original;
  if (one('save')) {
    one('save').disabled = !found.new;
    one('save').textContent = found.new ? `Save as version ${found.version}` : 'Save';
  }
  const kept = found.new ? '' : found.version;
  one('version').replaceChildren(...found.versions.map((version) => new Option(version, version, false, version === kept)));
  if (!found.versions.includes(kept)) one('version').prepend(new Option('new', '', true, true));
  one('what').textContent = found.label || 'none';
  one('beside').replaceChildren(...found.beside.map(([value, words]) => new Option(words, value)));
  if (found.beside.some(([value]) => value === beside)) one('beside').value = beside;
  for (const option of one('card').options) option.disabled = !found.fits.includes(option.value);
  if (one('card').selectedOptions[0]?.disabled && found.fits.length) one('card').value = found.fits[0];
  if (found.variables && found.variables.join() !== variables?.join()) await fields(found.variables);
  else await preview();
}
let resting = 0;
function typed() {
  one('saved').textContent = '';
  clearTimeout(resting);
  resting = setTimeout(check, TYPING);
}
one('source').addEventListener('input', typed);
one('name').addEventListener('input', typed);
one('back').addEventListener('click', () => {
  one('source').value = original;
  one('source').focus();
  check();
});
one('save')?.addEventListener('click', async () => {
  const found = await ask('save', draft());
  if (found.error) return show(one('saved'), '', found.error);
  one('source').value = original = found.source;
  await check();
  one('saved').textContent = found.words;
  one('source').focus();
});

// A trial on values.

const given = () => [...one('values').querySelectorAll('[data-value]')];
const values = () => ({
  values: Object.fromEntries(given().map((field) => [field.dataset.value, field.value])),
  json: [...one('values').querySelectorAll('[data-json]:checked')].map((box) => box.dataset.json),
});
async function fields(names) {
  const before = Object.fromEntries(given().map((field) => [field.dataset.value, field.value]));
  const found = await ask('values', draft());
  if (found.error) return;
  variables = names;
  show(one('values'), found.html);
  for (const field of given()) field.value = before[field.dataset.value] ?? '';
  await preview();
}
async function preview() {
  if (!one('seen').open) return;
  const found = await ask('preview', { ...draft(), ...values() });
  show(one('messages'), found.html, found.error);
}
one('seen').addEventListener('toggle', preview);
one('values').addEventListener('input', () => {
  clearTimeout(resting);
  resting = setTimeout(preview, TYPING);
});
const trial = jobOf({
  ask,
  go: one('run'),
  stop: one('run-stop'),
  kept: 'wh-prompts-trial',
  begin: () =>
    ask('run', {
      ...draft(),
      ...values(),
      model: one('model').value,
      temperature: one('temperature').value,
      max_tokens: one('max_tokens').value,
    }),
  shown: (found) => show(one('reply'), found.html, found.error),
});
sends(one('try'), trial.run);

// Scores.

const scores = jobOf({
  ask,
  go: one('score'),
  stop: one('score-stop'),
  kept: 'wh-prompts-scores',
  begin: () => {
    show(one('scores'), '<p class="wh-lab-state" role="status">Loading the model …</p>');
    return ask('score', { ...draft(), card: one('card').value, beside: one('beside').value, model: one('judged').value });
  },
  shown: (found) => show(one('scores'), found.html, found.error),
});

// A text that was not saved outlives a reload.
async function restore() {
  const held = JSON.parse(sessionStorage.getItem('wh-prompts-draft') || 'null');
  if (!held) return;
  one('name').value = held.name;
  one('source').value = held.source;
  original = held.original;
  await check();
}

whenSeen(async () => {
  await list();
  await restore();
  await trial.again();
  if (await scores.again()) open('scores');
});
