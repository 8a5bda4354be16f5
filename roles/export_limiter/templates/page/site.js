"use strict";
// One site: opened by its row, named in the address so that "back" and a link work.
const words = JSON.parse(document.getElementById("words").textContent);
const view = $("#site");
let large = null;

function table(heads, rows, empty, look) {
  if (!rows.length) return element("p", { class: "quiet" }, empty);
  const made = element("table", { class: look }, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {}, head)))));
  made.append(element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))))));
  return element("div", { class: "scroll" }, made);
}

function pairs(site, list) {
  const made = element("dl");
  for (const [name, path, kind] of list) {
    if (at(site, path) === undefined) continue;
    made.append(element("div", {}, element("dt", {}, name), element("dd", {}, field(site, path, kind))));
  }
  return made;
}

function section(title, ...children) {
  return element("section", {}, element("h3", {}, title), ...children);
}

function list(items) {
  return element("ul", {}, ...items.map((item) => element("li", {}, item)));
}

function head(site) {
  const badge = element("span", { class: `badge ${site.verdict}` }, words.verdicts[site.verdict]);
  const state = site.state === site.verdict ? "" : words.states[site.state] || "";
  const since = site.state_since === null ? "" : element("span", { class: "quiet" }, ", since ", field(site, "state_since", "moment"));
  const ended = site.rollout ? [words.ended, site.rollout.state, site.rollout.reason].filter(Boolean).join(": ") : "";
  return element("header", {},
    element("h2", {}, site.name, " ", badge),
    element("p", { class: "reason" }, [state, site.reason].filter(Boolean).join(": ") || NOTHING, since),
    ended ? element("p", { class: "reason" }, ended) : "",
    site.groups.length ? element("p", { class: "quiet" }, site.groups.join(", ")) : "",
    notice(site));
}

// What an installer should look at, before anything else.
function notice(site) {
  const found = [
    ...site.warnings,
    ...(site.last_refusal ? [`The last write that was refused: ${site.last_refusal}`] : []),
    ...site.drift.map((each) => `Differs from the inventory: ${each}`),
  ];
  return found.length ? element("div", { class: "notice" }, list(found)) : "";
}

function nowBlock(site) {
  return pairs(site, [
    ["Output now", "output_w", "power"], ["Output limit", "limits.output_w", "power"],
    ["Grid now", "export_w", "exchange"], ["Export limit", "limits.export_w", "power"],
    ["Cap", "cap_w", "power"], ["Holds output down", "binding", "plain"],
    ["Can limit now", "enforceable", "plain"], ["Method", "method", "plain"],
  ]);
}

function deviceBlock(site) {
  return pairs(site, [
    ["VRM portal id", "portal_id", "plain"], ["Machine", "machine", "plain"], ["Firmware", "firmware", "plain"],
    ["Release", "release.commit", "plain"], ["Version", "release.version", "plain"],
    ["In place since", "release.since", "moment"], ["Agent started", "started_at", "moment"],
    ["Last contact", "last_contact", "moment"], ["Device clock is ahead by", "clock_off_s", "duration"],
    ["Control point", "control_point", "plain"],
  ]);
}

function others(site) {
  const found = pairs(site, [
    ["Limit in force on the device", "others.applied_w", "power"], ["Stored setting, a user's or ours", "others.setting_w", "power"],
    ["Override in memory, another's or ours", "others.override_w", "power"], ["Override held by", "others.override_holder", "plain"],
    ["Feed-in limit of the device", "others.max_feed_in_w", "power"],
    ["Grid code's limit per phase", "others.export_limit_a", "current"], ["ESS mode", "others.hub4_mode", "mode"],
  ]);
  const lower = site.others.applied_w !== null && site.others.applied_w < site.cap_w - 1;
  const said = element("p", { class: "quiet" }, site.cap_w === null ? "No cap of ours is in force." : lower
    ? "The device is held lower than our cap: by its battery, a user's setting or another program."
    : "Nothing holds the device lower than our cap.");
  const phases = site.phases.map((_, i) => 
    [field(site, `phases.${i}.phase`, "plain"), field(site, `phases.${i}.output_w`, "power"), field(site, `phases.${i}.export_w`, "exchange")]);
  return [
    section("What else limits it", found.children.length ? said : "", found),
    section("Phases", table(["Phase", "Output", "Grid"], phases, "Nothing is known of the phases.")),
  ];
}

function inverters(site) {
  const rows = site.inverters.map((_, i) =>
    [["service", "plain"], ["product", "plain"], ["nominal_w", "power"], ["input_a", "current"], ["input_limit_a", "current"]]
      .map(([key, kind]) => field(site, `inverters.${i}.${key}`, kind)));
  return section("Inverters", table(["Service", "Product", "Nominal power", "AC input now", "AC input limit"], rows, "No inverter is known."));
}

const RECORD = [
  ["Excursions below 15 s", "below_15_s", "plain"], ["Excursions of 15 to 60 s", "from_15_to_60_s", "plain"],
  ["Excursions above 60 s", "above_60_s", "plain"], ["Longest excursion", "longest_s", "duration"],
  ["Most above the limit", "highest_w", "power"], ["Time above the limit", "above_s", "duration"],
  ["Energy above the limit", "above_wh", "energy"], ["Highest output", "output_max_w", "power"],
  ["Output in 99 % of the minutes, up to", "output_p99_w", "power"], ["Output in 95 % of the minutes, up to", "output_p95_w", "power"],
  ["Output in 50 % of the minutes, up to", "output_p50_w", "power"],
  ["Time measured", "measured_s", "duration"], ["Time not measured", "unmeasured_s", "duration"],
];

function record(site) {
  if (!site.compliance) return section("Record of the limit", element("p", { class: "quiet" }, "No history was handed over."));
  const rows = RECORD.map(([name, key, kind]) => [
    name,
    field(site, `compliance.day.${key}`, kind),
    key in site.compliance.month ? field(site, `compliance.month.${key}`, kind) : "",
  ]);
  const lockouts = site.compliance.day.lockouts;
  const tall = site.history.excursions.map((_, i) => i).reverse().map((i) => [
    field(site, `history.excursions.${i}.at`, "moment"), field(site, `history.excursions.${i}.length_s`, "duration"),
    field(site, `history.excursions.${i}.above_w`, "power"), field(site, `history.excursions.${i}.limit`, "plain"),
  ]);
  return section("Record of the limit",
    element("div", { class: "beside" },
      table(["", "24 hours", "30 days"], rows, "", "figures"),
      element("div", {},
        element("h4", {}, "Excursions of the last 24 hours"),
        table(["From", "Length", "Most above the limit", "Limit"], tall, "None."),
        element("p", {}, lockouts.length
          ? `In the last 24 hours a scheme that follows EREC G100 would have locked itself out for: ${lockouts.join("; ")}.`
          : "In the last 24 hours nothing would have locked out a scheme that follows EREC G100."),
        element("p", { class: "statement" }, words.statement))));
}

const DAYS = [
  ["Day", "date", "plain"], ["Measured", "measured_s", "duration"], ["Mean output", "output_mean_w", "power"],
  ["Highest output", "output_max_w", "power"], ["Above the limit", "above_wh", "energy"], ["for", "above_s", "duration"],
  ["Excursions below 15 s", "below_15_s", "plain"], ["15 to 60 s", "from_15_to_60_s", "plain"], ["above 60 s", "above_60_s", "plain"],
  ["Longest", "longest_s", "duration"],
];
const DAYS_SHOWN = 14;

function past(site) {
  if (!site.history) return [];
  const events = site.history.events.map((_, i) => i).reverse().map((i) => [
    field(site, `history.events.${i}.at`, "moment"), field(site, `history.events.${i}.text`, "plain"),
  ]);
  const dates = site.history.days.date || [];
  const days = dates.map((_, i) => i).reverse().map((i) => DAYS.map(([, key, kind]) => field(site, `history.days.${key}.${i}`, kind)));
  const shown = (lines) => table(DAYS.map(([name]) => name), lines, "The first day is not over yet.");
  const earlier = element("details", {}, element("summary", {}, "Earlier days"), shown(days.slice(DAYS_SHOWN)));
  return [
    section("Events", table(["Time", "What happened"], events, "None in the last 24 hours.", "wrap")),
    section("Days (UTC)", shown(days.slice(0, DAYS_SHOWN)), days.length > DAYS_SHOWN ? earlier : ""),
  ];
}

function configuration(site) {
  const names = Object.keys(site.config || {}).sort();
  const rows = names.map((name) => {
    const value = site.config[name];
    const simple = value === null || typeof value !== "object";
    return [name, simple ? field(site, `config.${name}`, "plain") : value.join(", ")];
  });
  const counters = Object.keys(site.counters).sort().map((name) => [name.replaceAll("_", " "), field(site, `counters.${name}`, "plain")]);
  return [
    section("Configuration as deployed", table(["Value", "Set to"], rows, "Not known.", "wrap")),
    section("Counted since the agent started", table(["What", "Count"], counters, "Not known.")),
  ];
}

// The large plot, with buttons where there is no mouse to drag with.
function zoomed(site) {
  const place = element("div", { class: "plot" });
  const series = site.history && site.history.series;
  if (!series) return section("Last 24 hours", element("p", { class: "quiet" }, "No history was handed over."));
  const end = series.from + series.points * series.step_s;
  let span = [series.from, end];
  const go = (from, to) => {
    const wide = Math.min(to - from, end - series.from);
    const start = Math.min(Math.max(from, series.from), end - wide);
    span = [start, start + wide];
    large.setScale("x", { min: start, max: start + wide });
  };
  const button = (text, action) => {
    const made = element("button", { type: "button" }, text);
    made.addEventListener("click", action);
    return made;
  };
  const hours = (n) => button(`${n} h`, () => go(span[1] - n * 3600, span[1]));
  const move = (part) => () => go(span[0] + part * (span[1] - span[0]), span[1] + part * (span[1] - span[0]));
  const tools = element("div", { class: "tools" }, hours(24), hours(6), hours(1), button("◀ earlier", move(-0.5)), button("later ▶", move(0.5)));
  const key = element("p", { class: "key" }, ...words.order.filter((state) => series.state.some(([, each]) => each === state)).map(
    (state) => element("span", {}, element("i", { style: null, class: `state ${state}` }), words.states[state])));
  const draw = () => {
    if (large) large.destroy();
    large = plot(site, place, false, printing ? PAPER_PX : Math.max(300, place.clientWidth), Math.min(380, Math.max(240, innerHeight * 0.42)), {
      draw: [strip(site)],
      setScale: [(u, name) => { if (name === "x") span = [u.scales.x.min, u.scales.x.max]; }],
    });
  };
  view.draw = draw;
  const exporting = limited(site) === "export";
  const note = `${exporting ? "Export, and the output with its cap" : "Output"}: the band is from least to most, the line is the mean; a red stripe is an excursion above the limit, the strip at the foot is the state. `
    + `One point is ${series.step_s / 60} min. Drag to zoom, double-click for all.`;
  return section("Last 24 hours", tools, place, key, element("p", { class: "quiet" }, note));
}

let scrolled = 0; // where the table was left

async function openSite(index) {
  const site = await siteAt(index);
  if (view.hidden) scrolled = scrollY;
  view.replaceChildren(
    element("a", { href: "#", class: "back" }, "← All sites"), head(site), nowBlock(site), zoomed(site), record(site),
    element("div", { class: "beside" }, ...others(site)), inverters(site), ...past(site), element("div", { class: "beside" }, ...configuration(site)),
    section("Device", deviceBlock(site)));
  view.dataset.site = index;
  $("#fleet").hidden = true;
  view.hidden = false;
  scrollTo(0, 0);
  if (view.draw) view.draw();
}

function route() {
  const index = /^#site-(\d+)$/.exec(location.hash);
  if (index && Number(index[1]) < blobs.length) return openSite(Number(index[1]));
  if (view.hidden) return;
  view.hidden = true;
  view.draw = null;
  $("#fleet").hidden = false;
  scrollTo(0, scrolled);
}

addEventListener("hashchange", route);
addEventListener("resize", () => { if (view.draw) view.draw(); });
document.addEventListener("theme", () => { if (view.draw) view.draw(); });
for (const row of rows) {
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a")) location.hash = `site-${row.dataset.site}`;
  });
}
route();
document.documentElement.dataset.ready = "yes";
