// What the scripts of the Compare and Tune tabs have in common. `element` and `server` are given by Gradio; the script
// that follows says what it is called: const lab = laboratory('wh-cm', 'compare').

const PIECE = 3 * 2 ** 20; // bytes of a file in one request
const POLL = 700; // ms between two looks at work
const pause = (ms) => new Promise((later) => setTimeout(later, ms));

function sentence(words) {
  const part = document.createElement('p');
  part.className = 'wh-error';
  part.setAttribute('role', 'alert');
  part.textContent = words;
  return part;
}

// Puts an answer in its place: what was unfolded, scrolled or focused stays so.
function show(place, html, error) {
  const open = new Set([...place.querySelectorAll('details[open] > summary')].map((part) => part.textContent));
  const scrolled = [...place.querySelectorAll('.wh-lab-scroll')].map((part) => part.scrollLeft);
  place.innerHTML = html || '';
  place.querySelectorAll('details > summary').forEach((part) => (part.parentElement.open ||= open.has(part.textContent)));
  place.querySelectorAll('.wh-lab-scroll').forEach((part, n) => (part.scrollLeft = scrolled[n] || 0));
  if (error) place.prepend(sentence(error));
  place.querySelectorAll('time').forEach((time) => {
    const when = new Date(time.dateTime);
    if (!isNaN(when)) time.textContent = when.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  });
}

function laboratory(prefix, name) {
  const one = (id) => element.querySelector(`#${prefix}-${id}`);

  async function ask(what, asked = {}) {
    try {
      return await server[`${name}_${what}`](asked);
    } catch {
      return { error: 'The server could not be asked: is it still running?' };
    }
  }

  // The views.
  const tabs = element.querySelector('[role=tablist]');
  const opened = [];
  function open(view, focus = false) {
    for (const tab of tabs.children) {
      const on = tab.id === `${prefix}-tab-${view}`;
      tab.setAttribute('aria-selected', String(on));
      tab.tabIndex = on ? 0 : -1;
      one('view-' + tab.id.slice(`${prefix}-tab-`.length)).hidden = !on;
      if (on && focus) tab.focus();
    }
    opened.forEach((told) => told(view));
  }
  tabs.addEventListener('click', (event) => {
    const tab = event.target.closest('[role=tab]');
    if (tab) open(tab.id.slice(`${prefix}-tab-`.length));
  });
  tabs.addEventListener('keydown', (event) => {
    const all = [...tabs.children];
    const at = all.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    open(all[(to + all.length) % all.length].id.slice(`${prefix}-tab-`.length), true);
  });

  // A file, piece by piece; what the server calls it as a source.
  async function sendFile(file, told) {
    let part = '';
    for (let at = 0; ; at += PIECE) {
      const last = at + PIECE >= file.size;
      let data;
      try {
        const url = await new Promise((done, failed) => {
          const reader = new FileReader();
          reader.onload = () => done(String(reader.result));
          reader.onerror = () => failed(reader.error);
          reader.readAsDataURL(file.slice(at, at + PIECE));
        });
        data = url.slice(url.indexOf(',') + 1);
      } catch {
        return { error: `${file.name}: the file cannot be read` };
      }
      const found = await ask('upload', { name: file.name, data, at, last, part });
      if (found.error || last) return found;
      part = found.part;
      told(Math.round((100 * (at + PIECE)) / file.size));
    }
  }

  element.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-copy]');
    if (!button) return;
    const link = new URL(button.dataset.copy, location.href.split(/[?#]/)[0]).href;
    try {
      await navigator.clipboard.writeText(link);
      button.textContent = 'Copied';
    } catch {
      button.replaceWith(Object.assign(document.createElement('code'), { textContent: link })); // to be copied by hand
    }
  });

  const chosen = (selector) => [...element.querySelectorAll(selector)].filter((box) => box.checked).map((box) => box.value);
  const enter = (id, act) =>
    one(id)?.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') event.preventDefault(), act();
    });
  // A chip for something that was typed.
  function addChip(group, words) {
    const known = [...group.querySelectorAll('input[type=checkbox]')].find((box) => box.value === words);
    if (known) return void (known.checked = true);
    const label = document.createElement('label');
    label.innerHTML = '<input type="checkbox" checked><span></span>';
    label.firstChild.value = words;
    label.lastChild.textContent = words;
    group.insertBefore(label, group.querySelector('.wh-lab-more'));
  }
  // Where rows come from: the list, a file of one's own, or a path. `source` looks at what is chosen; the answer chooses.
  function sources(source) {
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
    return choose;
  }

  // Work on the server, that the server knows by `key`: looked at until it is done, stopped, and gone on with. Of several
  // that are followed, the newest is shown. `another` is told before one is shown that was not.
  function work(key, shown, another = () => {}) {
    const at = { current: '', follow };
    let followed = null;
    async function follow(name) {
      const mine = (followed = Symbol());
      if (name !== at.current) another();
      at.current = name;
      for (;;) {
        const found = await ask('watch', { [key]: name });
        if (followed !== mine) return;
        shown(found);
        if (found.done !== false) return;
        await pause(POLL);
      }
    }
    one('stop').addEventListener('click', async () => {
      one('stop').disabled = true;
      const found = await ask('stop', { [key]: at.current });
      if (found.error) one('live').prepend(sentence(found.error));
    });
    one('resume').addEventListener('click', async () => {
      const found = await ask('resume', { [key]: at.current });
      if (found.error) return one('live').prepend(sentence(found.error));
      follow(found[key]);
    });
    return at;
  }
  function showButtons(found, resumable, what) {
    const held = document.activeElement;
    one('stop').hidden = found.done !== false;
    one('stop').disabled = Boolean(found.stopping);
    one('stop').textContent = found.stopping ? `Stopping after the ${what} it is at …` : 'Stop';
    one('resume').hidden = !resumable;
    if (held === one('stop') && one('stop').hidden && !one('resume').hidden) one('resume').focus();
  }
  const onOpen = (told) => opened.push(told);
  return { one, ask, open, onOpen, chosen, enter, addChip, sources, work, showButtons };
}

// Begins when the tab is looked at for the first time: Gradio builds all tabs at once.
function whenSeen(begin) {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    begin();
  });
  watch.observe(element);
}
