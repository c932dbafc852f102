"use strict";
// Shows the values of all curves under the pointer; the page is complete without it.
const tip = document.getElementById("tip");
let mark = null;

function told(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return (value / 1e6).toPrecision(4) + " M";
  if (size >= 1e4) return (value / 1e3).toPrecision(4) + " k";
  return size < 1e-4 ? value.toExponential(1) : Number(value.toPrecision(4)).toString();
}

function hide() {
  tip.style.display = "none";
  if (mark) mark.remove();
}

for (const svg of document.querySelectorAll("svg[data-frame]")) {
  const [left, right, low, high, west, east, north, south] = svg.dataset.frame.split(" ").map(Number);
  const { width, height } = svg.viewBox.baseVal;
  const curves = [...svg.querySelectorAll("polyline[data-label]")].map((curve) => ({
    label: curve.dataset.label,
    points: curve.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number)),
  }));
  const atX = (x) => left + (x - west) / (width - west - east) * (right - left);
  const atY = (y) => {
    const value = low + (height - south - y) / (height - north - south) * (high - low);
    return svg.dataset.log ? 10 ** value : value;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * width;
    let near = null;
    const rows = curves.map(({ label, points }) => {
      const point = points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
      if (near === null || Math.abs(point[0] - x) < Math.abs(near - x)) near = point[0];
      return `${label}: ${told(atY(point[1]))}`;
    });
    if (near === null) return;
    hide();
    mark = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [name, value] of Object.entries({ x1: near, x2: near, y1: north, y2: height - south, id: "mark" }))
      mark.setAttribute(name, value);
    svg.append(mark);
    tip.textContent = [told(atX(near)), ...rows.slice(0, 16)].join("\n");
    tip.style.display = "block";
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 4)) + "px";
  });
  svg.addEventListener("pointerleave", hide);
}
