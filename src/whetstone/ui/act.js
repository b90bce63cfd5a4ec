// Runs once for each of our HTML components: `element`, `trigger`, `watch` and `server` are given by Gradio.
// Buttons carry what they do in data-do, and what about in other data attributes; see controls.py.

const panelOf = (button) => button.closest('.wh-panel, .wh-actions, article') || element;

function carried(button) {
  const field = panelOf(button).querySelector('[data-field]');
  return { ...button.dataset, ...(field ? { [field.dataset.field]: field.value } : {}) };
}

async function copy(button) {
  const article = button.closest('article');
  const source = article.querySelector(button.dataset.what === 'prompt' ? '.wh-prompt' : '.wh-body');
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(source.innerText);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Not allowed here';
  }
  setTimeout(() => (button.textContent = words), 1200);
}

async function download(button) {
  const { conversation, format } = button.dataset;
  const { name, text, type, error } = await server.export_conversation({ conversation, format });
  if (error) {
    button.textContent = error;
    return;
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button || button.disabled) return;
  if (button.dataset.do === 'copy') copy(button);
  else if (button.dataset.do === 'download') download(button);
  else trigger('act', carried(button));
});

element.addEventListener('keydown', (event) => {
  const field = event.target.closest('[data-field]');
  if (!field) return;
  const sends = field.tagName === 'INPUT' || !event.shiftKey;
  if (event.key === 'Enter' && sends && !event.isComposing) {
    event.preventDefault();
    panelOf(field).querySelector('.wh-strong').click();
  }
});

// What a person has unfolded stays unfolded when the text around it changes.
const unfolded = new Set();
element.addEventListener(
  'toggle',
  (event) => {
    const name = event.target.dataset && event.target.dataset.keep;
    if (name && event.target.isConnected && !restoring) event.target.open ? unfolded.add(name) : unfolded.delete(name);
  },
  true,
);
let restoring = false;
let focused = null;

watch('value', () => {
  restoring = true;
  element.querySelectorAll('details[data-keep]').forEach((part) => (part.open = unfolded.has(part.dataset.keep)));
  setTimeout(() => (restoring = false), 0);
  const wanted = element.querySelector('[data-focus]');
  if (wanted && wanted.outerHTML !== focused) {
    wanted.focus({ preventScroll: false });
    if (wanted.select) wanted.select();
  }
  focused = wanted && wanted.outerHTML;
  window.dispatchEvent(new CustomEvent('whetstone:changed'));
});
window.dispatchEvent(new CustomEvent('whetstone:changed'));
