"use strict";
// Keeps the parts of a page as they are on the server, which escapes every text. The page is whole without this script.
const main = document.querySelector("main[data-page]");
const connection = document.getElementById("connection");
const EACH = 2000, LONGEST = 30000;
let wait = EACH, timer = 0, etag = "", busy = false;

function since(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes % 1440 / 60)} h`;
}
function showTimes() {
  for (const time of document.querySelectorAll("time[data-ago], time[data-for]")) {
    const passed = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (!Number.isFinite(passed)) continue;
    time.title = time.dateTime;
    time.textContent = since(passed) + ("ago" in time.dataset ? " ago" : "");
  }
}

// What a reader has done to a part is done again to the part that replaces it.
const reachable = part => [...part.querySelectorAll("a[href], button, summary, input, select")];
const boxes = part => [...part.querySelectorAll(".scroll, .list, pre")];
function kept(part) {
  const sorted = [...part.querySelectorAll(".ablation thead th")].map(head => head.getAttribute("aria-sort"));
  const open = [...part.querySelectorAll("details")].map(each => each.open);
  const scrolled = boxes(part).map(box => [box.scrollLeft, box.scrollTop]);
  const focused = reachable(part).indexOf(document.activeElement);
  return now => {
    [...now.querySelectorAll(".ablation thead th")].forEach((head, index) => {
      const clicks = {ascending: 1, descending: 2}[sorted[index]] ?? 0;
      for (let count = 0; count < clicks; count++) head.querySelector("button")?.click();
    });
    [...now.querySelectorAll("details")].forEach((each, index) => { if (index in open) each.open = open[index]; });
    boxes(now).forEach((box, index) => { if (index in scrolled) [box.scrollLeft, box.scrollTop] = scrolled[index]; });
    if (focused >= 0) reachable(now)[focused]?.focus({preventScroll: true});
  };
}
function isRead(part) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

let charts = null;
function drawAll(part) {
  if (!part.querySelector(".chart[data-name]")) return;
  charts ??= ["/static/vega.js", ...main.dataset.charts.split(" ")].reduce(
    (before, address) => before.then(() => import(address)), Promise.resolve());
  charts.then(() => window.drawCharts(part)).catch(error => console.warn(String(error)));
}
function replace(old, html) {
  const found = new DOMParser().parseFromString(html, "text/html").querySelector("[data-part]");
  if (!found) return;
  const now = document.importNode(found, true);
  // A section that is as it was keeps its drawn chart.
  for (const section of now.querySelectorAll("[data-keep]")) {
    const before = old.querySelector(`#${CSS.escape(section.id)}`);
    if (before && before.sourceText === section.innerHTML) section.replaceWith(before);
    else section.sourceText = section.innerHTML;
  }
  const again = kept(old);
  old.replaceWith(now);
  sortTables(now);
  drawAll(now);
  again(now);
  showTimes();
}

async function look() {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  const address = main.dataset.page, words = location.search;
  try {
    const headers = etag ? {"If-None-Match": etag} : {};
    const answer = await fetch(`${address}/versions${words}`, {headers, cache: "no-store"});
    if (answer.status === 403) throw new Error("The server was started again. Open the address that it printed.");
    if (answer.status === 404) throw new Error("This is not below the served folder any more.");
    if (answer.status !== 304) {
      if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
      const versions = await answer.json();
      let isWhole = true;
      for (const part of document.querySelectorAll("[data-part]")) {
        const version = versions[part.dataset.part];
        if (version === undefined || version === part.dataset.version) continue;
        if (isRead(part)) { isWhole = false; continue; }
        const fetched = await fetch(`${address}/part/${part.dataset.part}${words}`, {cache: "no-store"});
        if (!fetched.ok) throw new Error(`The server answered ${fetched.status}.`);
        replace(part, await fetched.text());
      }
      etag = isWhole && words === location.search ? answer.headers.get("ETag") ?? "" : "";
    }
    connection.textContent = "";
    connection.classList.remove("lost");
    document.documentElement.dataset.live = String(Number(document.documentElement.dataset.live ?? 0) + 1);
    wait = EACH;
  } catch (error) {
    const why = error instanceof TypeError ? "No connection to the server; trying again." : error.message;
    connection.textContent = `${why} What you see may be old.`;
    connection.classList.add("lost");
    wait = Math.min(LONGEST, wait * 2);
    etag = "";
  }
  busy = false;
  showTimes();
  if (!document.hidden) timer = setTimeout(look, wait);
}

const form = document.querySelector("form.filter");
let typed = 0;
form?.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    const words = new URLSearchParams([...new FormData(form)].filter(pair => pair[1]));
    history.replaceState(null, "", `?${words}`);
    etag = "";
    look();
  }, 250);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
showTimes();
setInterval(showTimes, 5000);
for (const part of document.querySelectorAll("[data-part]")) drawAll(part);
look();
