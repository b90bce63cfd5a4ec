// The Compare tab in the browser; see compare_tab.py for the server's side, and lab_page.js for what is not said here.

const { one, ask, open, onOpen, chosen, enter, addChip, sources, work, showButtons } = laboratory('wh-cm', 'compare');
let techniques = {};

// The problem.

let columnsOf = '';
async function source() {
  const place = one('source').value;
  columnsOf = place;
  one('seen').replaceChildren();
  show(one('columns'), '');
  const found = await ask('columns', { source: place });
  if (columnsOf !== place) return;
  show(one('columns'), found.html, found.error);
  one('id').innerHTML = found.options || '';
  one('group').innerHTML = found.groups || found.options || '';
}
const choose = sources(source);

const problem = () => ({
  text: chosen('.wh-cm-text'),
  target: chosen('input[name=wh-cm-target]')[0] || '',
  kind: one('kind').value,
  metric: one('metric').value,
  unit: one('unit').value,
  min: one('min').value,
  max: one('max').value,
  id: one('id').value,
  group: one('group').value,
  seed: one('seed').value,
  all: one('all').checked,
  test: one('test').value,
  validation: one('validation').value,
  train: one('train').value,
});
async function look() {
  one('looking').textContent = 'Reading the rows …';
  one('look').disabled = true;
  const found = await ask('problem', { source: one('source').value, problem: problem() });
  one('look').disabled = false;
  one('looking').textContent = '';
  show(one('seen'), found.html, found.error);
  return found.suit;
}
one('look').addEventListener('click', look);
one('all').addEventListener('change', () => {
  for (const id of ['test', 'validation', 'train']) one(id).disabled = one('all').checked;
});

// The arms.

function arm(spec) {
  const row = one('row').content.firstElementChild.cloneNode(true);
  const [name, given, remove, note] = row.children;
  const [technique, ...rest] = spec.split(':');
  name.value = technique;
  given.value = rest.join(':');
  const says = () => {
    const known = techniques[name.value] || {};
    note.textContent = known.says || '';
    given.placeholder = (known.takes || '').replace(/^:/, '').replace(/^\[:(.*)\]$/, '$1');
  };
  says();
  row.says = says;
  name.addEventListener('change', () => ((given.value = ''), says()));
  remove.addEventListener('click', () => (row.remove(), one('add').focus()));
  one('rows').append(row);
  return row;
}
const specs = () =>
  [...one('rows').children].map((row) => {
    const given = row.children[1].value.trim().replace(/^:/, '');
    return row.children[0].value + (given ? `:${given}` : '');
  });
one('add').addEventListener('click', () => arm('ask').children[0].focus());
one('suit').addEventListener('click', async () => {
  const suit = await look();
  if (!suit) return;
  one('rows').replaceChildren();
  suit.forEach(arm);
});
function model() {
  const spec = one('model-other').value.trim();
  if (spec) addChip(one('models'), spec);
  one('model-other').value = '';
}
one('model-add')?.addEventListener('click', model);
enter('model-other', model);

// The comparison.

async function start() {
  one('start').disabled = true;
  one('start-out').replaceChildren();
  const found = await ask('start', {
    source: one('source').value,
    problem: problem(),
    techniques: specs(),
    models: chosen('#wh-cm-models input[type=checkbox]'),
    question: one('question').value,
    grid: one('grid').value,
  });
  one('start').disabled = false;
  if (found.error) return void one('start-out').replaceChildren(sentence(found.error));
  open('watch', true);
  follow(found.id);
}
one('start').addEventListener('click', start);

function showComparison(found) {
  one('what').innerHTML = '';
  if (found.name) {
    const title = document.createElement('h3');
    title.textContent = found.name;
    one('what').append(title);
  }
  if (one('links').innerHTML !== (found.links || '') && one('links').dataset.links !== found.links) {
    one('links').innerHTML = found.links || '';
    one('links').dataset.links = found.links || '';
  }
  showButtons(found, found.done !== false && found.complete === false, 'answer');
  show(one('live'), found.html, found.error);
}
const { follow } = work('id', showComparison);

// Those of before.

async function earlier() {
  const found = await ask('earlier');
  show(one('earlier'), found.html, found.error);
}
onOpen((view) => view === 'earlier' && earlier());
one('earlier').addEventListener('click', async (event) => {
  const link = event.target.closest('[data-open]');
  if (link) {
    open('watch', true);
    show(one('live'), '<p class="wh-note" role="status">Opening …</p>');
    return follow(link.dataset.open);
  }
  const report = event.target.closest('[data-report]');
  if (!report) return;
  const group = report.closest('details');
  const runs = [...group.querySelectorAll('input:checked')].map((box) => box.value);
  const place = group.lastElementChild;
  show(place, '<p class="wh-note" role="status">Comparing …</p>');
  const found = await ask('report', { runs });
  show(place, found.html, found.error);
});

// Arms that another tab asks for, on a problem of its own: revisions of a tuning run.
async function takeOver() {
  const asked = window.whetstoneCompare;
  if (!asked) return;
  delete window.whetstoneCompare;
  open('new', true);
  one('rows').replaceChildren();
  ['constant', 'tfidf', ...asked.techniques].forEach(arm);
  if ([...one('source').options].some((option) => option.value === asked.source)) {
    one('source').value = asked.source;
    await source();
  } else await choose(asked.source, asked.name);
  const { text, target, ...fields } = asked.problem;
  for (const [id, value] of Object.entries(fields)) one(id).value = value;
  element.querySelectorAll('.wh-cm-text').forEach((box) => (box.checked = box.value === text));
  element.querySelectorAll('input[name=wh-cm-target]').forEach((box) => (box.checked = box.value === target));
}
window.addEventListener('whetstone:compare', () => begun && takeOver());

let begun = false;
whenSeen(async () => {
  ['constant', 'tfidf', 'ask'].forEach(arm);
  await source();
  begun = true;
  const asked = Boolean(window.whetstoneCompare);
  await takeOver();
  const running = await ask('open', {});
  if (running.id && !asked) {
    open('watch');
    follow(running.id);
  } else one('live').innerHTML = '<p class="wh-note">No comparison is at work. Set one up, or open an earlier one.</p>';
  const found = await ask('techniques'); // last: the libraries of all techniques are loaded for it
  techniques = found.techniques || {};
  if (found.error) one('start-out').replaceChildren(sentence(found.error));
  for (const row of one('rows').children) row.says();
});
