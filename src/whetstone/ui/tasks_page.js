// The Tasks tab in the browser; see tasks_tab.py for the server's side, and lab_page.js and lab_job.js for the rest.

const { one, ask, open, onOpen } = laboratory('wh-ta', 'tasks');
let ofCase = ''; // the case whose inputs the form holds

const card = () => one('card').value;
const fields = () => [...one('form').querySelectorAll('[data-input]')];
const main = () => one('form').querySelector('[data-input]');

// The card, its form, and what is to be said of the model.

let asking = '';
async function choose() {
  const name = (asking = card());
  ofCase = '';
  const found = await ask('card', { card: name });
  if (asking !== name) return;
  show(one('about'), found.about, found.error);
  one('form').innerHTML = found.html || '';
  one('file')?.addEventListener('change', readFile);
  main()?.addEventListener('input', length);
  length();
  if (!one('view-cases').hidden) cases();
  await model();
}
async function model() {
  const found = await ask('model', { card: card(), model: one('model').value });
  show(one('apart'), found.html, found.error);
}
function length() {
  if (!one('length')) return;
  const words = main().value.trim().split(/\s+/).filter(Boolean).length;
  one('length').textContent = words ? `${words.toLocaleString('en')} words` : '';
}
async function readFile() {
  const [file] = one('file').files;
  one('file').value = '';
  if (!file) return;
  one('length').textContent = `Reading ${file.name} …`;
  const url = await new Promise((read) => {
    const reader = new FileReader();
    reader.onload = () => read(String(reader.result));
    reader.readAsDataURL(file);
  });
  const found = await ask('file', { name: file.name, data: url.slice(url.indexOf(',') + 1) });
  if (found.error) return void one('length').replaceChildren(sentence(found.error));
  main().value = found.text;
  ofCase = '';
  length();
}
one('card').addEventListener('change', () => {
  if (!one('go').disabled) one('out').replaceChildren(); // of another card
  choose();
});
one('model').addEventListener('change', model);
one('form').addEventListener('input', () => (ofCase = ''));

// A task.

const job = jobOf({
  ask,
  go: one('go'),
  stop: one('stop'),
  kept: 'wh-tasks-job',
  begin: () => {
    show(one('out'), '<p class="wh-lab-state" role="status">Asking …</p>');
    return ask('start', {
      card: card(),
      model: one('model').value,
      case: ofCase,
      inputs: Object.fromEntries(fields().map((field) => [field.dataset.input, field.value])),
      shots: one('shots').value,
      temperature: one('temperature').value,
      max_tokens: one('max_tokens').value,
      seed: one('seed').value,
      part_tokens: one('part_tokens')?.value,
      run: one('run')?.checked,
      repairs: one('repairs')?.value,
    });
  },
  shown: (found) => show(one('out'), found.html, found.error),
});
sends(one('form'), job.run);
one('out').addEventListener('click', (event) => {
  const button = event.target.closest('[data-copy-output]');
  if (!button) return;
  const output = one('output');
  const rows = [...output.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent).join('\t'));
  copyText(button, rows.length ? rows.join('\n') : output.textContent);
});
one('out').addEventListener(
  'toggle',
  async (event) => {
    const step = event.target.closest('[data-step]');
    if (!step?.open || step.dataset.known) return;
    step.dataset.known = 'yes';
    const found = await ask('step', { job: job.job, step: Number(step.dataset.step) });
    show(step.lastElementChild, found.html, found.error);
  },
  true, // it does not bubble
);

// The cases.

async function cases() {
  const found = await ask('cases', { card: card() });
  show(one('cases'), found.html, found.error);
}
onOpen((view) => view === 'cases' && cases());
element.addEventListener('click', async (event) => {
  if (event.target.closest('[data-cases]')) return open('cases', true);
  const use = event.target.closest('[data-case]');
  if (!use) return;
  const found = await ask('case', { card: card(), case: use.dataset.case });
  if (found.error) return show(one('cases'), '', found.error);
  for (const field of fields()) field.value = found.inputs[field.dataset.input] ?? '';
  ofCase = use.dataset.case;
  length();
  open('do');
  one('go').focus();
});

whenSeen(async () => {
  await choose();
  await job.again();
});
