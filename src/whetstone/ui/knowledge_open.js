() => {
  // Opens the Knowledge tab at a passage: from a link anywhere on the page (knowledge_cites.passage_link), or from the
  // address.
  const tab = () => [...document.querySelectorAll('button[role="tab"]')].find((b) => b.textContent.trim() === 'Knowledge');

  function open(place) {
    window.whetstoneKnowledge = place;
    tab()?.click();
    window.dispatchEvent(new CustomEvent('whetstone:knowledge'));
  }
  document.addEventListener('click', (event) => {
    const link = event.target.closest('[data-open-passage]');
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const { kb, path, start, end, source } = link.dataset;
    open({ kb, path, start, end, source, from: link });
  });
  const asked = new URLSearchParams(location.search);
  if (asked.get('kb')) open(Object.fromEntries(['kb', 'path', 'start', 'end', 'source'].map((name) => [name, asked.get(name) ?? undefined])));
}
