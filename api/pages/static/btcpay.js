// window.btcpay: shows the payment page of an invoice in a frame over the shop's own page.
// The page in the frame has no script; what a shop wants to hear is polled from here.
(function () {
  'use strict';

  var POLL_MS = 2000;
  var script = document.currentScript;
  var prefix = script ? script.src.replace(/\/modal\/btcpay\.js.*$/, '') : '';
  var listeners = [], entering = [], leaving = [];
  var frame = null, cover = null, timer = null, shownId = null, last = null;

  function build() {
    if (cover) return;
    cover = document.createElement('div');
    cover.setAttribute('role', 'dialog');
    cover.setAttribute('aria-modal', 'true');
    cover.setAttribute('aria-label', 'Payment');
    style(cover, { position: 'fixed', top: 0, right: 0, bottom: 0, left: 0, zIndex: 2000, display: 'none',
      background: 'rgba(0, 0, 0, .6)' });
    frame = document.createElement('iframe');
    frame.name = 'btcpay';
    frame.title = 'Payment';
    frame.allow = 'clipboard-write';
    style(frame, { position: 'absolute', top: '3rem', left: '50%', width: 'min(34rem, 100%)',
      height: 'calc(100% - 4rem)', transform: 'translateX(-50%)', border: 0, borderRadius: '.75rem', background: '#fff' });
    frame.addEventListener('load', function () { tell('loaded'); });
    var close = document.createElement('button');
    close.type = 'button';
    close.textContent = '×';
    close.setAttribute('aria-label', 'Close');
    style(close, { position: 'absolute', top: '.4rem', right: 'max(.5rem, calc(50% - 17rem))', width: '2.2rem',
      height: '2.2rem', border: 0, borderRadius: '50%', background: '#fff', color: '#222', font: '1.4rem/1 sans-serif',
      cursor: 'pointer' });
    close.addEventListener('click', function () { tell('close'); hideFrame(); });
    cover.appendChild(frame);
    cover.appendChild(close);
  }

  function style(element, values) {
    Object.keys(values).forEach(function (name) { element.style[name] = values[name]; });
  }

  function tell(data) {
    listeners.forEach(function (listener) {
      listener({ data: data, origin: new URL(prefix || '/', location.href).origin, source: frame && frame.contentWindow });
    });
  }

  function ask() {
    var id = shownId;
    if (!id) return;
    fetch(prefix + '/i/' + encodeURIComponent(id) + '/status', { credentials: 'omit' })
      .then(function (answer) { return answer.ok ? answer.json() : null; })
      .then(function (seen) {
        if (!seen || id !== shownId) return;
        if (last !== null && seen.status !== last) tell({ invoiceId: id, status: seen.status });
        last = seen.status;
      })
      .catch(function () { /* asked again soon */ })
      .then(function () { if (id === shownId) timer = setTimeout(ask, POLL_MS); });
  }

  function setInvoice(id, params) {
    build();
    var query = new URLSearchParams(params || {});
    query.set('view', 'modal');
    frame.src = prefix + '/i/' + encodeURIComponent(id) + '?' + query.toString();
    clearTimeout(timer);
    shownId = id;
    last = null;
    ask();
  }

  function appendInvoiceFrame(id, params) {
    setInvoice(id, params);
    if (!cover.parentNode) document.body.appendChild(cover);
  }

  function showFrame() {
    build();
    if (!cover.parentNode) document.body.appendChild(cover);
    entering.forEach(function (listener) { listener(); });
    cover.style.display = 'block';
  }

  function hideFrame() {
    clearTimeout(timer);
    shownId = null;
    if (!cover || cover.style.display === 'none') return;
    leaving.forEach(function (listener) { listener(); });
    cover.style.display = 'none';
    frame.removeAttribute('src');
    if (cover.parentNode) cover.parentNode.removeChild(cover);
  }

  function showInvoice(id, params) {
    appendInvoiceFrame(id, params);
    showFrame();
  }

  window.btcpay = {
    showFrame: showFrame,
    hideFrame: hideFrame,
    showInvoice: showInvoice,
    appendInvoiceFrame: appendInvoiceFrame,
    appendAndShowInvoiceFrame: showInvoice,
    onModalWillEnter: function (listener) { entering.push(listener); },
    onModalWillLeave: function (listener) { leaving.push(listener); },
    onModalReceiveMessage: function (listener) { listeners.push(listener); },
    setApiUrlPrefix: function (url) { prefix = String(url).replace(/\/+$/, ''); }
  };
})();
