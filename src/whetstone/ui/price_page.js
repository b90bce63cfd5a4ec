// The Price tab in the browser. `element` and `server` are given by Gradio; see price_tab.py for the server's side.

const POLL = 250; // ms between two looks at a job
const one = (id) => element.querySelector('#wh-pr-' + id);
const pause = (ms) => new Promise((later) => setTimeout(later, ms));

async function ask(name, asked = {}) {
  try {
    return await server['price_' + name](asked);
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

let correction = '';
const settings = () => ({
  model: one('model').value, estimate: one('estimate').value, level: Number(one('level').value), grid: one('grid').value,
  correction,
});

// The file of a field as the server takes it.
async function fileOf(id) {
  const [file] = one(id).files;
  if (!file) return {};
  const url = await new Promise((read) => {
    const reader = new FileReader();
    reader.onload = () => read(String(reader.result));
    reader.readAsDataURL(file);
  });
  return { name: file.name, data: url.slice(url.indexOf(',') + 1) };
}

function download(name, type, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// One job: asks for what is new until its end. `show` is given each thing that was found; the last error, or ''.
async function follow(begun, show) {
  if (begun.error) return begun.error;
  for (let seen = 0; ; ) {
    const found = await ask('found', { job: begun.job, seen });
    (found.found || []).forEach(show);
    seen = found.seen ?? seen;
    if (found.done || found.error) return found.error || '';
    await pause(POLL);
  }
}

// The views.

const tabs = element.querySelector('[role=tablist]');
function open(tab) {
  for (const each of tabs.children) {
    const on = each === tab;
    each.setAttribute('aria-selected', String(on));
    each.tabIndex = on ? 0 : -1;
    one('view-' + each.id.slice('wh-pr-tab-'.length)).hidden = !on;
  }
  one('settings').hidden = tab.id === 'wh-pr-tab-guess';
}
tabs.addEventListener('click', (event) => {
  const tab = event.target.closest('[role=tab]');
  if (tab) open(tab);
});
tabs.addEventListener('keydown', (event) => {
  const all = [...tabs.children];
  const at = all.indexOf(event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = all[(to + all.length) % all.length];
  next.focus();
  open(next);
});

// A start button and a stop button around a job.
function working(id, begin, show, end) {
  const start = one(id + '-start');
  const stop = one(id + '-stop');
  let job = '';
  async function run() {
    if (start.disabled) return;
    start.disabled = true;
    one(id + '-progress').textContent = 'Working; a model is loaded first …';
    const begun = await begin();
    job = begun.job;
    stop.hidden = !job;
    const error = await follow(begun, (found) => show(found, begun));
    const stopped = document.activeElement === stop;
    start.disabled = false;
    stop.hidden = true;
    if (stopped) start.focus();
    one(id + '-progress').textContent = '';
    end(error, begun);
  }
  start.addEventListener('click', run);
  stop.addEventListener('click', () => ask('stop', { job }));
  return run;
}

// One item.

let known = '';
const priceOne = working(
  'one',
  () => ask('one', { ...settings(), text: one('text').value, known }),
  (found) => (one('one-out').innerHTML = found.html),
  (error) => error && one('one-out').replaceChildren(sentence(error)),
);
one('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    priceOne();
  }
});
one('known').addEventListener('change', async () => {
  known = '';
  one('known-name').textContent = 'Reading known items …';
  const error = await follow(await ask('known', await fileOf('known')), (found) => {
    known = found.known;
    one('known-name').textContent = found.words;
  });
  if (error) one('known-name').replaceChildren(sentence(error));
});

// A correction, of one model on one grid: another choice of either lets it go.

one('correct').addEventListener('change', async () => {
  correction = '';
  one('correct-name').textContent = 'Reading known prices; a model is loaded first …';
  const error = await follow(await ask('correct', { ...settings(), ...(await fileOf('correct')) }), (found) => {
    correction = found.correction || '';
    one('correct-name').textContent = found.words;
  });
  if (error) one('correct-name').replaceChildren(sentence(error));
});
for (const id of ['model', 'grid']) {
  one(id).addEventListener('change', () => {
    correction = '';
    one('correct').value = '';
    one('correct-name').textContent = '';
  });
}

// Many.

for (const id of ['many', 'guess']) {
  one(id).addEventListener('change', () => (one(id + '-name').textContent = one(id).files[0]?.name || ''));
}
let lines = [];
working(
  'many',
  async () => {
    lines = [];
    one('many-out').replaceChildren();
    one('many-table').hidden = true;
    one('many-table').tBodies[0].replaceChildren();
    return ask('many', { ...settings(), ...(await fileOf('many')) });
  },
  (found, begun) => {
    lines.push(found.line);
    one('many-table').hidden = false;
    one('many-table').tBodies[0].insertAdjacentHTML('beforeend', found.html);
    one('many-progress').textContent = `${lines.length} of ${begun.total}`;
    one('many-download').hidden = false;
  },
  (error, begun) => {
    if (error) one('many-out').replaceChildren(sentence(error));
    else if (lines.length < begun.total) one('many-progress').textContent = `Stopped after ${lines.length} of ${begun.total}`;
    else one('many-progress').textContent = `${lines.length} rows`;
  },
);
one('many-download').addEventListener('click', () => download('prices.jsonl', 'application/jsonl', lines.join('\n') + '\n'));

// Guessing.

let guess = {};
let shown = 0;
function showGuess(found) {
  if (found.error) return void one('guess-out').replaceChildren(sentence(found.error));
  guess = { ...guess, ...found };
  const ended = guess.done === guess.total;
  one('guess-begin').hidden = true;
  one('guess-ask').hidden = ended;
  one('guess-download').hidden = !guess.done;
  one('guess-out').replaceChildren();
  if (found.again) return void one('guess-out').replaceChildren(sentence(found.again));
  one('guess-progress').textContent = `Item ${guess.done + 1} of ${guess.total}`;
  one('guess-item').textContent = guess.text;
  one('guess-unit').textContent = guess.unit;
  one('guess-written').value = '';
  shown = performance.now();
  if (!ended) return void one('guess-written').focus();
  one('guess-out').textContent = `All ${guess.total} guessed: ${guess.error_of_all} off on average. Download the guesses, and compare them: whet compare FILE --test-size ${guess.total} -t guesses:${guess.file}`;
  one('guess-download').focus();
}
one('guess-start').addEventListener('click', async () => {
  guess = {};
  showGuess(await ask('guess_open', { ...(await fileOf('guess')), person: one('person').value, items: Number(one('items').value) }));
});
one('guess-ask').addEventListener('submit', async (event) => {
  event.preventDefault();
  showGuess(await ask('guess_give', { guess: guess.guess, written: one('guess-written').value, seconds: (performance.now() - shown) / 1000 }));
});
one('guess-back').addEventListener('click', async () => showGuess(await ask('guess_back', { guess: guess.guess })));
one('guess-download').addEventListener('click', () => download(guess.file, 'text/csv', guess.csv));
