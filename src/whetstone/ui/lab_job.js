// Work that one button begins and another one stops. `kept` is what this page calls it, so that a reload finds it again.
// `begin` gives the server's answer, with a job or an error; `shown` is given what is there, and what was asked for it.
function jobOf({ ask, go, stop, kept, begin, shown }) {
  const at = { job: '' };
  async function follow(job) {
    at.job = job;
    sessionStorage.setItem(kept, job);
    go.disabled = true;
    stop.hidden = false;
    stop.disabled = false;
    stop.textContent = 'Stop';
    for (;;) {
      const found = await ask('watch', { job });
      if (found.stopping) {
        stop.disabled = true;
        stop.textContent = 'Stopping …';
      }
      shown(found);
      if (found.done !== false) break;
      await pause(POLL / 2);
    }
    const held = document.activeElement === stop;
    go.disabled = false;
    stop.hidden = true;
    if (held) go.focus();
  }
  async function run() {
    if (go.disabled) return;
    go.disabled = true;
    const begun = await begin();
    go.disabled = false;
    if (begun.error) shown({ error: begun.error });
    else await follow(begun.job);
  }
  go.addEventListener('click', run);
  stop.addEventListener('click', async () => {
    stop.disabled = true;
    const found = await ask('stop', { job: at.job });
    if (found.error) shown(found);
  });
  at.run = run;
  at.again = async () => {
    const job = sessionStorage.getItem(kept);
    if (!job) return false;
    if ((await ask('watch', { job })).error?.includes('no longer')) return void sessionStorage.removeItem(kept);
    follow(job);
    return true;
  };
  return at;
}

// Ctrl + Enter in any field of a place does what its button does.
function sends(place, act) {
  place.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    act();
  });
}

async function copyText(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = Object.assign(document.createElement('textarea'), { value: text });
    button.after(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  const words = button.textContent;
  button.textContent = 'Copied';
  await pause(1500);
  button.textContent = words;
}
