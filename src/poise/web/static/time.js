// Instants are sent in UTC; the reader sees local time, with UTC on the title.
const FORMATS = {
  day: { day: "numeric", month: "short" },
  minute: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  second: {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  },
};
const formats = Object.fromEntries(
  Object.entries(FORMATS).map(([name, options]) => [name, new Intl.DateTimeFormat("en-GB", options)]),
);

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const format = formats[time.dataset.precision ?? "minute"];
    const at = new Date(time.dateTime);
    if (format && !Number.isNaN(at.valueOf())) time.textContent = format.format(at).replace(",", "");
  }
}

localise(document);
// live.js hands over what is about to be shown, so that nothing flickers from UTC to local.
document.addEventListener("poise:incoming", (event) => localise(event.detail));
