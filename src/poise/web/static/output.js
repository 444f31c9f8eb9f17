// Output as it comes: each message is {items: [...], cursor, skipped_bytes}, its id the cursor, so that the
// browser goes on where it was when the server comes back. The view follows the end only while the reader is there.
const log = document.getElementById("log");
const state = document.getElementById("log-state");
const MIB = 1048576;
const clock = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

function row(line) {
  const made = document.createElement("div");
  const address = `${line.source}@${line.offset}`;
  const link = document.createElement("a");
  link.href = `${log.dataset.here}?${new URLSearchParams({ line: address })}#hit`;
  link.setAttribute("aria-label", `Line ${address}`);
  const time = document.createElement("time");
  if (line.at) {
    time.dateTime = line.at;
    time.title = line.at;
    time.textContent = clock.format(new Date(line.at)).replace(",", "");
  }
  link.append(time);
  const source = document.createElement("span");
  source.className = "source";
  source.textContent = line.source;
  const code = document.createElement("code");
  const more = line.cut_chars > 0 ? ` … ${line.cut_chars.toLocaleString("en")} characters more` : "";
  code.textContent = line.text + more || " ";
  made.append(link, source, code);
  return made;
}

function follow(url) {
  const most = Number(log.dataset.max);
  const start = new URL(url, location.href);
  start.searchParams.set("cursor", log.dataset.cursor);
  let waiting = [];
  const source = new EventSource(start);
  const flush = () => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 24;
    log.append(...waiting.slice(-most).map(row));
    waiting = [];
    while (log.childElementCount > most) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  source.onmessage = ({ data }) => {
    const news = JSON.parse(data);
    if (!waiting.length && news.items.length) requestAnimationFrame(flush);
    waiting.push(...news.items);
    state.textContent = news.skipped_bytes
      ? `Live; ${(news.skipped_bytes / MIB).toFixed(1)} MiB came too fast to be shown: search for them.`
      : "Live: new lines come by themselves.";
  };
  source.addEventListener("end", ({ data }) => {
    source.close();
    state.textContent = `The run has ended: ${data}.`;
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
  const hit = document.getElementById("hit");
  if (hit) hit.scrollIntoView({ block: "center" });
  else log.scrollTop = log.scrollHeight;
  if (log.dataset.stream) follow(log.dataset.stream);
}
