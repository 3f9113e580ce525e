/** The message log and what arrived, for people and for automation. All text goes in as textContent. */

const MOST_LINES = 500;

class Chat {
  #log = document.getElementById('log');
  received = []; // { from, text, bytes, label, taken }
  #watchers = new Set();
  #follow = true; // whether the newest line stays in sight

  constructor() {
    this.#log.addEventListener('scroll', () => { this.#follow = this.#distance() < 60; });
    new ResizeObserver(() => this.#follow && this.#toEnd()).observe(this.#log);
  }

  /** Pixels between the lower edge of what is in sight and the end. */
  #distance() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight;
  }

  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #append(className, children) {
    const line = document.createElement('li');
    line.className = className;
    line.append(...children);
    this.#log.append(line);
    while (this.#log.childElementCount > MOST_LINES) this.#log.firstElementChild.remove();
    if (this.#follow || className.includes('mine')) this.#toEnd();
  }

  #span(className, text) {
    const span = document.createElement('span');
    span.className = className;
    span.textContent = text;
    return span;
  }

  system(text) {
    this.#append('system', [text]);
  }

  /** Shows one message; `data` is a string or a Uint8Array. */
  show(who, data, mine = false) {
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    let kind = mine ? 'mine' : '';
    let text = data;
    if (typeof data !== 'string') {
      const head = [...data.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
      text = `${data.length} bytes: ${head}${data.length > 16 ? ' …' : ''}`;
      kind += ' code';
    } else if (/^\s*[{[]/.test(data) && this.#isJson(data)) kind += ' code';
    const shown = text.length > 4000 ? `${text.slice(0, 4000)} … (${text.length} characters)` : text;
    this.#append(kind, [this.#span('meta', `${mine ? 'You' : who} · ${time}`), this.#span('text', shown)]);
  }

  #isJson(text) {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  }

  receive(from, data, label) {
    const isText = typeof data === 'string';
    this.received.push({ from, text: isText ? data : null, bytes: isText ? null : [...data], label, taken: false });
    if (this.received.length > MOST_LINES) this.received.shift();
    this.show(from, data);
    for (const watcher of [...this.#watchers]) watcher();
  }

  /** The first message, come or to come, that matches and was not given out before. */
  take(matches, timeoutMs) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.received.find((message) => !message.taken && matches(message));
        if (!found) return;
        found.taken = true;
        this.#watchers.delete(look);
        clearTimeout(timer);
        const { from, text, bytes, label } = found;
        resolve({ from, text, bytes, label });
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(new Error(`no such message within ${timeoutMs} ms; ${this.received.length} came in all`));
      }, timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }
}

