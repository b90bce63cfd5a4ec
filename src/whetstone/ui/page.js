() => {
  const one = (selector) => document.querySelector(selector);

  const isSideOpen = () => one('#wh-chat').classList.contains('wh-side-open');

  // Escape stops an answer, or folds the conversations away on a phone.
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    if (isSideOpen()) side(false);
    else {
      const stop = one('#wh-stop');
      if (stop && stop.offsetParent !== null) stop.click();
    }
  });

  // On a phone the conversations come in over the page.
  function side(open) {
    one('#wh-chat').classList.toggle('wh-side-open', open);
    const button = one('#wh-side-button');
    if (button) button.setAttribute('aria-expanded', String(open));
    if (open) one('#wh-side button')?.focus();
    else if (button && button.offsetParent !== null) button.focus();
  }
  document.addEventListener('click', (event) => {
    if (event.target.closest('#wh-side-button')) side(!isSideOpen());
    else if (isSideOpen()) {
      if (!event.target.closest('#wh-side') || event.target.closest('.wh-open, #wh-new')) side(false);
    }
  });

  // The address names the open conversation, so that a reload shows it again; the page follows a growing answer,
  // unless its reader has scrolled up.
  let atBottom = true;
  window.addEventListener('scroll', () => {
    const rest = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
    atBottom = rest < 120;
  });
  let shown = null;
  window.addEventListener('whetstone:changed', () => {
    const thread = one('.wh-thread');
    if (!thread || thread.offsetParent === null) return; // another tab is open
    const conversation = thread.dataset.conversation;
    if (conversation !== shown) {
      const address = new URL(location.href);
      if (conversation) address.searchParams.set('chat', conversation);
      else if (shown !== null) address.searchParams.delete('chat');
      if (shown !== null || conversation) history.replaceState(null, '', address);
      shown = conversation;
      atBottom = true;
    }
    if (atBottom && !thread.querySelector('.wh-panel')) window.scrollTo(0, document.documentElement.scrollHeight);
  });
}
