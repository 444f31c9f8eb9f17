// A run's log as it comes: each message is {"n": line number, "text": "..."}; event "end" ends it.
// The view follows the end only while the reader is there.
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g;
const log = document.getElementById("log");
const state = document.getElementById("log-state");

function row({ n, text }) {
  const line = document.createElement("div");
  line.id = `L${n}`;
  const link = document.createElement("a");
  link.href = `#L${n}`;
  link.textContent = String(n);
  link.setAttribute("aria-label", `Line ${n}`);
  const code = document.createElement("code");
  code.textContent = String(text).replace(ESCAPES, "") || " ";
  line.append(link, code);
  return line;
}

function follow(url) {
  const most = Number(log.dataset.max);
  let last = Number(log.dataset.after);
  let waiting = [];
  const source = new EventSource(`${url}?after=${last}`);
  const flush = () => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 24;
    log.append(...waiting.slice(-most).map(row));
    waiting = [];
    while (log.childElementCount > most) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  source.onmessage = ({ data }) => {
    const line = JSON.parse(data);
    if (line.n <= last) return; // a reconnect may repeat what is already here
    last = line.n;
    if (waiting.push(line) === 1) requestAnimationFrame(flush);
  };
  source.addEventListener("end", () => {
    source.close();
    state.textContent = `The log is complete: ${last} lines.`;
  });
  source.onerror = () => {
    state.textContent = "The stream is away; it comes back by itself.";
  };
  source.onopen = () => {
    state.textContent = "Live: new lines come by themselves.";
  };
  addEventListener("pagehide", () => source.close());
}

if (log) {
  if (!location.hash) log.scrollTop = log.scrollHeight;
  if (log.dataset.log) follow(log.dataset.log);
}
