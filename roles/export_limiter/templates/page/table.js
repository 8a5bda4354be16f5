"use strict";
// The table of sites: sort, filter, search. Rows are there without a script as well.
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

const rows = $$("#sites tbody tr");
const chosen = { verdict: "", group: "", words: "" };

function applyFilter() {
  const words = chosen.words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const groups = JSON.parse(row.dataset.groups);
    const text = row.dataset.text;
    row.hidden =
      (chosen.verdict && row.dataset.verdict !== chosen.verdict) ||
      (chosen.group && !groups.includes(chosen.group)) ||
      !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  $("#shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
  $("#none").hidden = shown > 0;
  for (const card of $$("[data-choose]")) {
    card.setAttribute("aria-pressed", String(card.dataset.choose === chosen.verdict));
  }
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
}

for (const header of $$("#sites th[data-sort]")) {
  $("button", header).addEventListener("click", () => {
    const now = header.getAttribute("aria-sort");
    sortBy(header, now ? now === "ascending" : header.dataset.sort === "number");
  });
}
const sortable = $$("#sites th[data-sort]");
$("#order").addEventListener("change", (event) => {
  const header = sortable[Number(event.target.value)];
  sortBy(header, header.dataset.sort === "number");
});
for (const card of $$("[data-choose]")) {
  card.addEventListener("click", () => {
    chosen.verdict = chosen.verdict === card.dataset.choose ? "" : card.dataset.choose;
    applyFilter();
  });
}
$("#verdict").addEventListener("change", (event) => { chosen.verdict = event.target.value; applyFilter(); });
$("#group").addEventListener("change", (event) => { chosen.group = event.target.value; applyFilter(); });
$("#search").addEventListener("input", (event) => { chosen.words = event.target.value; applyFilter(); });

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
