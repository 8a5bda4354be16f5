"use strict";
// The table of sites: sort, filter, search. Rows are there without a script as well.
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

const rows = $$("#sites tbody tr");
const chosen = { verdict: "", flag: "", group: "", words: "" };

function applyFilter() {
  const words = chosen.words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const groups = JSON.parse(row.dataset.groups);
    const flags = JSON.parse(row.dataset.flags);
    const text = row.dataset.text;
    row.hidden =
      (chosen.verdict && row.dataset.verdict !== chosen.verdict) ||
      (chosen.flag && !flags.includes(chosen.flag)) ||
      (chosen.group && !groups.includes(chosen.group)) ||
      !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  $("#shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
  $("#none").hidden = shown > 0;
  $("#all").hidden = !Object.values(chosen).some(Boolean);
  for (const { key, name, button } of choosers) button.setAttribute("aria-pressed", String(chosen[key] === name));
  $("#verdict").value = chosen.verdict;
}

function sortBy(header, down) {
  const column = header.cellIndex;
  const key = (row) => {
    const text = row.cells[column].dataset.sort;
    return text === "" ? null : header.dataset.sort === "number" ? Number(text) : text;
  };
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = rows.map((row) => [key(row), row]);
  sorted.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is unknown comes last
    return (down ? -1 : 1) * (header.dataset.sort === "number" ? order(a, b) : a.localeCompare(b));
  });
  $("#sites tbody").append(...sorted.map(([, row]) => row));
  for (const other of $$("#sites th[data-sort]")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  $("#order").value = String(column);
}

for (const header of $$("#sites th[data-sort]")) {
  $("button", header).addEventListener("click", () => {
    const now = header.getAttribute("aria-sort");
    sortBy(header, now ? now === "ascending" : header.dataset.sort === "number");
  });
}
$("#order").addEventListener("change", (event) => {
  const header = $$("#sites th")[Number(event.target.value)];
  sortBy(header, header.dataset.sort === "number");
});
// A button that chooses some sites, until it is pressed again.
const choosers = [
  ...$$("[data-choose]").map((button) => ({ key: "verdict", name: button.dataset.choose, button })),
  ...$$("[data-flag]").map((button) => ({ key: "flag", name: button.dataset.flag, button })),
];
for (const { key, name, button } of choosers) {
  button.addEventListener("click", () => {
    chosen[key] = chosen[key] === name ? "" : name;
    applyFilter();
  });
}
$("#all").addEventListener("click", () => {
  Object.assign(chosen, { verdict: "", flag: "", group: "", words: "" });
  $("#search").value = $("#group").value = "";
  applyFilter();
});
$("#verdict").addEventListener("change", (event) => { chosen.verdict = event.target.value; applyFilter(); });
$("#group").addEventListener("change", (event) => { chosen.group = event.target.value; applyFilter(); });
$("#search").addEventListener("input", (event) => { chosen.words = event.target.value; applyFilter(); });
addEventListener("keydown", (event) => {
  const typing = event.target.closest && event.target.closest("input, select");
  if (event.key === "/" && !typing && !$("#fleet").hidden) {
    event.preventDefault();
    $("#search").focus();
  }
  if (event.key === "Escape" && !$("#fleet").hidden) $("#all").click();
  if (event.key === "Escape" && $("#fleet").hidden) location.hash = "";
});

for (const time of $$("time[data-k=moment]")) {
  if (time.dateTime) time.textContent = KINDS.moment(Number(time.dataset.value));
}
$("#zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "the zone of this browser";

$("#theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement;
  const now = root.dataset.theme || (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  document.dispatchEvent(new Event("theme"));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));

// Paper is light, and not as wide as a screen.
const PAPER_PX = 690;
let shownTheme = null;
let printing = false;
addEventListener("beforeprint", () => {
  printing = true;
  shownTheme = document.documentElement.dataset.theme || "";
  document.documentElement.dataset.theme = "light";
  document.dispatchEvent(new Event("theme"));
});
addEventListener("afterprint", () => {
  printing = false;
  if (shownTheme) document.documentElement.dataset.theme = shownTheme;
  else delete document.documentElement.dataset.theme;
  document.dispatchEvent(new Event("theme"));
});
