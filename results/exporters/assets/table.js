"use strict";
// Makes the tables below `root` sortable: pages that change call it again for their new tables.
function sortTables(root) {
  for (const table of root.querySelectorAll(".ablation table")) {
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
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
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
  // A table that is wider than the window says which columns are out of sight, and how to see them.
  for (const scroll of root.querySelectorAll(".ablation .scroll")) {
    const note = document.createElement("p");
    note.className = "wide";
    scroll.before(note);
    const heads = [...scroll.querySelectorAll("thead th")];
    new ResizeObserver(() => {
      // As it is before any scrolling: the note must not change while somebody follows it.
      const right = scroll.getBoundingClientRect().right + 1;
      const hidden = heads.filter(head => head.getBoundingClientRect().right + scroll.scrollLeft > right);
      note.hidden = hidden.length === 0;
      note.textContent = `Scroll sideways for ${hidden.map(head => head.textContent).join(", ")}.`;
    }).observe(scroll);
  }
}
sortTables(document);
