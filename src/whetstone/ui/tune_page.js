// The Tune tab in the browser; see tune_tab.py for the server's side, and lab_page.js for what is not said here.

const { one, ask, open, onOpen, chosen, sources, work, showButtons } = laboratory('wh-tu', 'tune');

// Data.

let columnsOf = '';
async function source() {
  const place = one('source').value;
  columnsOf = place;
  one('columns').innerHTML = '<p class="wh-note" role="status">Looking at the rows …</p>';
  const found = await ask('columns', { source: place });
  if (columnsOf === place) show(one('columns'), found.html, found.error);
}
sources(source);

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
  run.follow(found.run);
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
  showButtons(found, found.resumable, 'step');
  draw(one('live'), found.html || '', found.error);
  draw(one('revisions'), found.revisions || '');
}
const run = work('run', showRun, () => one('out').replaceChildren());

// Its revisions.

one('revisions').addEventListener('click', async (event) => {
  const steps = [...one('revisions').querySelectorAll('input:checked')].map((box) => box.value);
  const chat = event.target.closest('[data-chat]');
  if (chat) {
    const found = await ask('chat', { run: run.current, step: chat.dataset.chat });
    if (found.error) return show(one('out'), '', found.error);
    location.assign(found.link);
  } else if (event.target.closest('[data-beside]')) {
    const found = await ask('beside', { run: run.current, steps });
    show(one('out'), found.html, found.error);
    one('out').scrollIntoView({ block: 'nearest' });
  } else if (event.target.closest('[data-arms]')) {
    const found = await ask('arms', { run: run.current, steps });
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
  run.follow(link.dataset.open);
});

whenSeen(async () => {
  await source();
  const running = await ask('open');
  if (running.run) {
    open('run');
    run.follow(running.run);
  } else one('live').innerHTML = '<p class="wh-note">No run is at work. Set one up, or open one of the list.</p>';
});
