"use strict";
// Plots by uPlot: a small one in each row, made when it comes into view, and a large one per site.
const blobs = JSON.parse(document.getElementById("packed").textContent);
const opened = new Map();

// A site's part of data.json, from its compressed text.
async function siteAt(index) {
  if (!opened.has(index)) {
    const bytes = Uint8Array.from(atob(blobs[index]), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const site = await new Response(stream).json();
    if (site.history && site.history.series) unpack(site.history.series);
    opened.set(index, site);
  }
  return opened.get(index);
}

// Undoes series.py: means are differences, least and most are told from the mean.
function unpack(series) {
  for (const quantity of ["output", "export"]) {
    const means = series[`${quantity}_mean_w`];
    if (!means) continue;
    let sum = 0;
    means.forEach((value, i) => { if (value !== null) means[i] = sum += value; });
    for (const name of [`${quantity}_min_w`, `${quantity}_max_w`]) {
      if (series[name]) series[name] = series[name].map((value, i) => (value === null ? null : value + means[i]));
    }
  }
}

// Runs as one value a point.
function spread(series, name) {
  const values = new Array(series.points).fill(null);
  series[name].forEach(([start, value], i, runs) => {
    values.fill(value, start, i + 1 < runs.length ? runs[i + 1][0] : series.points);
  });
  return values;
}

// A colour as the theme has it now; a canvas does not know CSS variables.
const tinted = document.body.appendChild(element("span", { hidden: "" }));
function colour(name) {
  tinted.style.color = `var(--${name})`;
  return getComputedStyle(tinted).color;
}

// Which quantity is limited, and its columns; the output where both are.
function limited(site) {
  return site.limits.output_w === null && site.limits.export_w !== null ? "export" : "output";
}

function columns(site) {
  const series = site.history.series;
  const quantity = limited(site);
  const means = series[`${quantity}_mean_w`] || new Array(series.points).fill(null);
  return [
    means.map((_, i) => series.from + i * series.step_s),
    series[`${quantity}_min_w`] || means,
    series[`${quantity}_max_w`] || means,
    means,
    spread(series, `${quantity}_limit_w`),
    spread(series, "cap_w"),
    // The cap is one of the output, which is not what is limited here.
    ...(quantity === "export" ? [series.output_mean_w || means.map(() => null)] : []),
  ];
}

const step = () => uPlot.paths.stepped({ align: 1 });
const kilowatts = (_, values) => values.map((value) => `${value / 1000} kW`);

// The time of day, and the date where one begins.
function clock(_, values) {
  const moments = values.map((value) => KINDS.moment(value));
  const day = (i) => moments[i].slice(5, 10);
  return moments.map((moment, i) => moment.slice(-5) + (i === 0 || day(i) !== day(i - 1) ? `\n${day(i)}` : ""));
}

function lines(site, small) {
  const width = small ? 1 : 1.5;
  const told = (_, value) => show("power", value);
  return [
    { label: "time", value: (_, value) => show("moment", value) },
    { label: "least", stroke: colour("band"), width: 0, points: { show: false }, value: told },
    { label: "most", stroke: colour("band"), width: 0, points: { show: false }, value: told },
    { label: "mean", stroke: colour("output"), width, fill: small ? colour("band") : null, points: { show: false }, value: told },
    { label: "limit", stroke: colour("limit"), width, dash: [5, 4], paths: step(), points: { show: false }, value: told },
    { label: "cap", stroke: colour("cap"), width, paths: step(), points: { show: false }, value: told },
    ...(limited(site) === "export" ? [{ label: "output", stroke: colour("quiet"), width, points: { show: false }, value: told }] : []),
  ];
}

function range(_, low, high) {
  return [Math.min(0, low ?? 0), (high ?? 1000) * 1.08];
}

function axes(small) {
  if (small) return [{ show: false }, { show: false }];
  const look = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  return [{ ...look, space: 70, values: clock }, { ...look, values: kilowatts, size: 68 }];
}

function plot(site, place, small, width, height, hooks) {
  return new uPlot(
    {
      width,
      height,
      legend: { show: !small, live: true },
      cursor: { show: !small, drag: { x: true, y: false } },
      scales: { y: { range } },
      series: lines(site, small),
      bands: [{ series: [2, 1], fill: colour("band") }],
      axes: axes(small),
      padding: small ? [2, 0, 0, 0] : [10, 12, 0, 0],
      hooks: hooks || {},
    },
    columns(site),
    place,
  );
}

// The state at each time as a coloured strip along the foot of the plot, and where excursions were.
// A small plot shows only what is bad.
function strip(site, small) {
  const series = site.history.series;
  const excursions = site.history.excursions.filter((each) => each.limit === limited(site));
  const runs = small ? series.state.map(([start, state]) => [start, BAD.includes(state) ? state : null]) : series.state;
  return (u) => {
    const { left, top, width, height } = u.bbox;
    const tall = (small ? 4 : 7) * devicePixelRatio;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    u.ctx.fillStyle = colour("excursion");
    for (const { at, length_s } of excursions) {
      const from = u.valToPos(at, "x", true);
      const to = u.valToPos(at + length_s, "x", true);
      u.ctx.fillRect(from - 1, top, Math.max(3 * devicePixelRatio, to - from), height - tall);
    }
    runs.forEach(([start, state], i) => {
      if (state === null) return;
      const end = i + 1 < runs.length ? runs[i + 1][0] : series.points;
      const from = u.valToPos(series.from + start * series.step_s, "x", true);
      const to = u.valToPos(series.from + end * series.step_s, "x", true);
      u.ctx.fillStyle = colour(`state-${state}`);
      u.ctx.fillRect(from, top + height - tall, Math.max(1, to - from), tall);
    });
    u.ctx.restore();
  };
}

const BAD = ["failsafe", "not_enforceable"];
const small = new Map();
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && !small.has(target)) {
      small.set(target, null);
      drawSmall(target);
    }
  }
}, { rootMargin: "300px" });

async function drawSmall(place) {
  const site = await siteAt(Number(place.dataset.plot));
  if (!site.history || !site.history.series) return;
  small.set(place, plot(site, place, true, place.clientWidth || 160, 40, { draw: [strip(site, true)] }));
}

for (const place of document.querySelectorAll("[data-plot]")) watcher.observe(place);

document.addEventListener("theme", () => {
  for (const [place, drawn] of small) {
    if (drawn) drawn.destroy();
    small.delete(place);
    watcher.unobserve(place);
    watcher.observe(place);
  }
});
