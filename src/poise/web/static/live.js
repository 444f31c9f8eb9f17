// When the journal says that something changed, fetch this page again and change in place what differs.
// What is being read stays where it is: scroll, focus, open details, open forms and typed text are kept.
const QUIET_MS = 1000; // changes come in bursts; one fetch answers a burst
const LONGEST_WAIT_MS = 5000; // and a burst that never ends is still shown

const main = document.querySelector("main[data-events]");
let timer = 0;
let waitingSince = 0;
let fetching = false;

function isMine(element) {
  return (
    element.nodeType === Node.ELEMENT_NODE &&
    (element.matches("[data-keep], :popover-open") ||
      (element === document.activeElement && element.matches("input, select, textarea")))
  );
}

function sameThing(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "");
}

function morphAttributes(from, to) {
  const keepsOpen = from.nodeName === "DETAILS"; // the reader opens and closes these
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(keepsOpen && name === "open")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !(keepsOpen && name === "open")) from.setAttribute(name, value);
  }
}

function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (isMine(from)) return;
  morphAttributes(from, to);
  morphChildren(from, to);
}

function morphChildren(from, to) {
  let here = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const held = wanted.id ? [...from.children].find((child) => child.id === wanted.id) : null;
    if (held && held !== here && sameThing(held, wanted)) {
      from.insertBefore(held, here);
      here = held;
    }
    if (here && sameThing(here, wanted)) {
      morph(here, wanted);
      here = here.nextSibling;
    } else {
      from.insertBefore(wanted, here);
    }
  }
  while (here) {
    const next = here.nextSibling;
    if (!isMine(here)) here.remove();
    here = next;
  }
}

async function refresh() {
  timer = 0;
  waitingSince = 0;
  if (document.hidden) {
    document.addEventListener("visibilitychange", schedule, { once: true });
    return;
  }
  if (fetching) return schedule();
  fetching = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
    if (!answer.ok) return; // signed out or away: what is shown stays, the stream tries again by itself
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const incoming = page.querySelector("main");
    if (!incoming) return;
    document.dispatchEvent(new CustomEvent("poise:incoming", { detail: incoming }));
    morphChildren(main, incoming);
    document.title = page.title;
    document.dispatchEvent(new CustomEvent("poise:changed"));
  } catch {
    schedule(); // the server is away for a moment
  } finally {
    fetching = false;
  }
}

function schedule() {
  const now = performance.now();
  waitingSince ||= now;
  clearTimeout(timer);
  timer = setTimeout(refresh, Math.max(0, Math.min(QUIET_MS, waitingSince + LONGEST_WAIT_MS - now)));
}

if (main) {
  const query = new URLSearchParams({ after: main.dataset.after });
  for (const subject of (main.dataset.subject ?? "").split(" ").filter(Boolean)) query.append("subject", subject);
  const source = new EventSource(`${main.dataset.events}?${query}`);
  source.addEventListener("changed", schedule);
  source.addEventListener("message", schedule);
  addEventListener("pagehide", () => source.close());
}
