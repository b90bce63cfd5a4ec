// The Tune tab in the browser; see tune_tab.py for the server's side, and lab_page.js for what is not said here.

const { one, ask, open, onOpen, sendFile, chosen, enter } = laboratory('wh-tu', 'tune');
let current = ''; // the run that is shown
let followed = null; // the newest loop that looks at it

// Data.

let columnsOf = '';
async function source() {
  const place = one('source').value;
  columnsOf = place;
  one('columns').innerHTML = '<p class="wh-note" role="status">Looking at the rows …</p>';
  const found = await ask('columns', { source: place });
  if (columnsOf === place) show(one('columns'), found.html, found.error);
}
function choose(place, words) {
  one('own').hidden = false;
  one('own').value = place;
  one('own').textContent = words;
  one('source').value = place;
  return source();
}
one('source').addEventListener('change', source);
one('file').addEventListener('change', async () => {
  const [file] = one('file').files;
  one('file').value = '';
  if (!file) return;
  const note = (words) => (one('columns').innerHTML = `<p class="wh-note" role="status">${words}</p>`);
  note('Uploading …');
  const found = await sendFile(file, (percent) => note(`Uploading: ${percent} %`));
  if (found.error) return show(one('columns'), '', found.error);
  await choose(found.source, found.name);
});
function path() {
  const place = one('path').value.trim();
  if (place) choose(place, place);
}
one('path-open')?.addEventListener('click', path);
enter('path', path);

// Plan and start.

const FIELDS = ['run', 'method', 'loss', 'weights', 'num_train_epochs', 'max_steps', 'learning_rate', 'r', 'batch_size', 'replay', 'yaml'];
const asked = () => ({
  source: one('source').value,
  columns: { text: chosen('.wh-tu-text'), target: chosen('input[name=wh-tu-target]')[0] || '' },
  config: { base: one('base-other')?.value.trim() || one('base').value, ...Object.fromEntries(FIELDS.map((id) => [id, one(id).value])) },
  overwrite: one('overwrite').checked,
});
one('plan').addEventListener('click', async () => {
  one('plan').disabled = true;
  show(one('planned'), '<p class="wh-note" role="status">Reading the rows …</p>');
  const begun = await ask('plan', asked());
  for (let found = begun; ; await pause(POLL)) {
    if (!begun.error) found = await ask('planned', { plan: begun.plan });
    show(one('planned'), found.html, found.error);
    if (found.done !== false) break;
  }
  one('plan').disabled = false;
});
one('start').addEventListener('click', async () => {
  one('start').disabled = true;
  one('start-out').replaceChildren();
  const found = await ask('start', asked());
  one('start').disabled = false;
  if (found.error) return void one('start-out').replaceChildren(sentence(found.error));
  one('overwrite').checked = false;
  open('run', true);
  follow(found.run);
});

// The run.

// Redrawn only where something has changed: a person may be choosing revisions, or reading.
function draw(place, html, error) {
  if (place.drawn === html + (error || '')) return;
  place.drawn = html + (error || '');
  const ticked = new Set([...place.querySelectorAll('input:checked')].map((box) => box.value));
  const held = place.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') : null;
  show(place, html, error);
  place.querySelectorAll('input[type=checkbox]').forEach((box) => (box.checked = ticked.has(box.value)));
  if (held) [...place.querySelectorAll('[aria-label]')].find((part) => part.getAttribute('aria-label') === held)?.focus();
}
function showRun(found) {
  draw(one('what'), found.what || '');
  const held = document.activeElement;
  one('stop').hidden = found.done !== false;
  one('stop').disabled = Boolean(found.stopping);
  one('stop').textContent = found.stopping ? 'Stopping after the step it is at …' : 'Stop';
  one('resume').hidden = !found.resumable;
  if (held === one('stop') && one('stop').hidden && !one('resume').hidden) one('resume').focus();
  draw(one('live'), found.html || '', found.error);
  draw(one('revisions'), found.revisions || '');
}
async function follow(run) {
  const mine = (followed = Symbol());
  if (run !== current) one('out').replaceChildren();
  current = run;
  for (;;) {
    const found = await ask('watch', { run });
    if (followed !== mine) return;
    showRun(found);
    if (found.done !== false) return;
    await pause(POLL);
  }
}
one('stop').addEventListener('click', async () => {
  one('stop').disabled = true;
  const found = await ask('stop', { run: current });
  if (found.error) one('live').prepend(sentence(found.error));
});
one('resume').addEventListener('click', async () => {
  const found = await ask('resume', { run: current });
  if (found.error) return one('live').prepend(sentence(found.error));
  follow(found.run);
});

// Its revisions.

one('revisions').addEventListener('click', async (event) => {
  const steps = [...one('revisions').querySelectorAll('input:checked')].map((box) => box.value);
  const chat = event.target.closest('[data-chat]');
  if (chat) {
    const found = await ask('chat', { run: current, step: chat.dataset.chat });
    if (found.error) return show(one('out'), '', found.error);
    location.assign(found.link);
  } else if (event.target.closest('[data-beside]')) {
    const found = await ask('beside', { run: current, steps });
    show(one('out'), found.html, found.error);
    one('out').scrollIntoView({ block: 'nearest' });
  } else if (event.target.closest('[data-arms]')) {
    const found = await ask('arms', { run: current, steps });
    if (found.error) return show(one('out'), '', found.error);
    window.whetstoneCompare = found;
    [...document.querySelectorAll('button[role=tab]')].find((tab) => tab.textContent.trim() === 'Compare')?.click();
    window.dispatchEvent(new CustomEvent('whetstone:compare'));
  }
});

// All runs.

onOpen(async (view) => {
  if (view !== 'runs') return;
  const found = await ask('runs');
  show(one('list'), found.html, found.error);
});
one('list').addEventListener('click', (event) => {
  const link = event.target.closest('[data-open]');
  if (!link) return;
  open('run', true);
  follow(link.dataset.open);
});

whenSeen(async () => {
  await source();
  const running = await ask('open');
  if (running.run) {
    open('run');
    follow(running.run);
  } else one('live').innerHTML = '<p class="wh-note">No run is at work. Set one up, or open one of the list.</p>';
});
