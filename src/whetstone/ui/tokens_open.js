() => {
  // Opens the Tokens tab for an answer: from a link anywhere on the page (tokens_tab.open_with), or from the address.
  const tab = () => [...document.querySelectorAll('button[role="tab"]')].find((b) => b.textContent.trim() === 'Tokens');

  function open(turn) {
    window.whetstoneTokens = turn;
    tab()?.click();
    window.dispatchEvent(new CustomEvent('whetstone:tokens'));
  }
  document.addEventListener('click', (event) => {
    const link = event.target.closest('[data-open-tokens]');
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    open(link.dataset.openTokens);
  });
  const asked = new URLSearchParams(location.search).get('tokens');
  if (asked) open(asked);
}
