// A crosshair that reads the chart's table twin: the figures under the pointer, or by the arrow keys.
function crosshair(svg) {
  const table = document.querySelector("#chart-table tbody");
  const heads = [...table.parentElement.querySelectorAll("th")].map((cell) => cell.textContent);
  const LEFT = 64; // where the axis begins, in the drawing's own units
  const cross = svg.querySelector(".cross");
  const scroller = svg.closest(".scroll");
  const readout = scroller.nextElementSibling;
  let at = -1;

  const show = (index) => {
    const rows = table.rows;
    at = Math.min(Math.max(index, 0), rows.length - 1);
    const [when, ...figures] = [...rows[at].cells].map((cell) => cell.textContent);
    const x = String(Number(rows[at].dataset.x));
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    cross.removeAttribute("visibility");
    const told = figures.map((figure, n) => `${heads[n + 1]} ${figure}`).filter((_, n) => figures[n]);
    readout.textContent = `${when}: ${told.join(", ")}`;
  };

  svg.addEventListener("pointermove", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const wanted = point.x - LEFT;
    const xs = [...table.rows].map((row) => Number(row.dataset.x));
    let nearest = 0;
    xs.forEach((x, index) => {
      if (Math.abs(x - wanted) < Math.abs(xs[nearest] - wanted)) nearest = index;
    });
    show(nearest);
  });
  scroller.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(at < 0 ? table.rows.length - 1 : at + step);
  });
}

for (const svg of document.querySelectorAll("svg[data-chart]")) crosshair(svg);

// On a phone the drawing is wider than its card: what is newest is seen first.
for (const chart of document.querySelectorAll(".scroll > .chart")) {
  chart.parentElement.scrollLeft = chart.parentElement.scrollWidth;
}
