"""Looks and behaviour of a sortable HTML table: plain CSS and a few lines of JavaScript, nothing from elsewhere."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """\
:root { color-scheme: light dark; --line: #bbb; --faint: #666; --shade: #f3f3f3; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --faint: #aaa; --shade: #222; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
.ablation { margin: 0; }
.ablation .scroll { overflow-x: auto; }
.ablation table { border-collapse: collapse; font-size: .93rem; border-top: 2px solid; border-bottom: 2px solid; }
.ablation thead th { border-bottom: 1px solid; vertical-align: bottom; }
.ablation tbody + tbody tr:first-child > * { border-top: 1px solid var(--line); }
.ablation th, .ablation td { padding: .25rem .6rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.ablation td:first-child { white-space: normal; overflow-wrap: break-word; min-width: 9rem; max-width: 24rem; }
.ablation .left { text-align: left; }
.ablation .right { text-align: right; }
.ablation .center { text-align: center; }
.ablation tr.group th { text-align: left; font-style: italic; font-weight: normal; }
.ablation tbody tr:hover td { background: var(--shade); }
.ablation button { all: unset; cursor: pointer; font-weight: 600; }
.ablation button:focus-visible { outline: 2px solid; }
.ablation th[aria-sort=ascending] button::after { content: " \\25B4"; }
.ablation th[aria-sort=descending] button::after { content: " \\25BE"; }
.ablation .change { color: var(--faint); }
.ablation figcaption { font-size: .87rem; color: var(--faint); max-width: 60rem; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 9pt; } .ablation .scroll { overflow: visible; } }
"""

SCRIPT = """\
"use strict";
for (const table of document.querySelectorAll(".ablation table")) {
  const original = [...table.tBodies].map(body => [body, [...body.rows]]);
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", {numeric: true});
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const next = {ascending: "descending", descending: null}[head.getAttribute("aria-sort")];
    const order = next === undefined ? "ascending" : next;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    original.forEach(([body, rows]) => body.replaceChildren(...rows));
    if (order === null) return;
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = original.flatMap(pair => pair[1]).filter(row => !row.classList.contains("group"));
    // An empty cell has no value to sort by: it goes last in both orders.
    const isEmpty = row => row.cells[column].textContent === "";
    rows.sort((a, b) => isEmpty(a) - isEmpty(b) || (isEmpty(a) ? 0 : sign * compare(key(a, column), key(b, column))));
    original.forEach(([body]) => body.replaceChildren());
    original[0][0].replaceChildren(...rows);
  }));
}
"""
