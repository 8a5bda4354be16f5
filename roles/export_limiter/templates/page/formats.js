"use strict";
// Numbers as people read them; controller/formats.py does the same for the table.
const NOTHING = "–";
const ESS_MODES = { 1: "total of the phases", 2: "each phase by itself", 3: "external control" };
const KINDS = {
  power: (w) => `${(w / 1000).toFixed(2)} kW`,
  exchange: (w) => `${KINDS.power(Math.abs(w))}${w > 0 ? " fed in" : w < 0 ? " drawn" : ""}`,
  current: (a) => `${a.toFixed(1)} A`,
  energy: (wh) => (wh < 1000 ? `${wh.toFixed(1)} Wh` : `${(wh / 1000).toFixed(2)} kWh`),
  duration: (s) =>
    Math.abs(s) < 120 ? `${s.toFixed(0)} s`
    : Math.abs(s) < 7200 ? `${(s / 60).toFixed(0)} min`
    : `${(s / 3600).toFixed(1)} h`,
  moment: (s) => new Date(s * 1000).toLocaleString("sv", { dateStyle: "short", timeStyle: "short" }),
  mode: (mode) => (ESS_MODES[mode] ? `${mode}: ${ESS_MODES[mode]}` : String(mode)),
  plain: (value) => (value === true ? "yes" : value === false ? "no" : String(value)),
};

function show(kind, value) {
  return value === null || value === undefined || value === "" ? NOTHING : KINDS[kind](value);
}

// An element with text only: what a device or an inventory says is never markup.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function at(data, path) {
  return path.split(".").reduce((inner, key) => (inner === null || inner === undefined ? inner : inner[key]), data);
}

// A value of the site with the path at which data.json has it.
function field(site, path, kind) {
  const value = at(site, path);
  const name = kind === "moment" ? "time" : "span";
  return element(name, { "data-f": path, "data-k": kind }, show(kind, value));
}
