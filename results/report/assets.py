"""Styles, scripts and escaping of the report, and the few lines that turn its still pictures into live charts.

Every chart is a picture first, so that the page works without scripts, in a mail, on paper. Where scripts may run, Vega
draws it anew for the width at hand. Expressions are interpreted (`ast`), so the page needs no right to `eval`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from html import escape
from typing import Any

import vl_convert

from search_space.parsing.visible import visible

__all__ = ["DRAWING", "REPORT_STYLE", "block", "data_uri", "script_hash", "script_json", "text", "vega_script"]

REPORT_STYLE = """\
:root { color-scheme: light; --line: #bbb; --faint: #555; --shade: #f3f3f3; }
* { box-sizing: border-box; }
body { background: #fff; color: #1a1a1a; max-width: 68rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; padding-top: .5rem; border-top: 1px solid #ddd; }
h1, h2, h3 { overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, li { max-width: 60rem; overflow-wrap: anywhere; }
nav { font-size: .9rem; line-height: 2; } nav a { margin-right: .9rem; display: inline-block; }
a { color: #0b5394; }
.ablation .scroll { max-height: 85vh; overflow: auto; }
.ablation thead th { position: sticky; top: 0; background: #fff; }
.lead { margin: .3rem 0; } .how, .notes, .files, .quiet { font-size: .87rem; color: var(--faint); }
.notes { padding-left: 1.2rem; } .files a { margin-right: 1rem; }
.warning { border-left: 4px solid #d55e00; padding: .2rem .7rem; }
.chart { margin: .6rem 0; overflow: hidden; } .chart > div { width: 100%; }
.chart img, .chart svg { max-width: 100%; height: auto; display: block; }
[hidden] { display: none !important; }
.vega-embed { width: 100%; } .vega-embed details { display: none; }
.list { overflow-x: auto; } .list table { border-collapse: collapse; font-size: .9rem; }
.list th, .list td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere; min-width: 4rem; }
pre { background: var(--shade); padding: .6rem .8rem; overflow-x: auto; font-size: .8rem; line-height: 1.35; }
details summary { cursor: pointer; }
#vg-tooltip-element { position: fixed; visibility: hidden; z-index: 9; background: #fff;
  border: 1px solid #999; padding: 5px 8px; font-size: 12px; max-width: 22rem; overflow-wrap: anywhere; }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element td.key { color: #666; text-align: right; padding-right: 6px; vertical-align: top; }
#vg-tooltip-element td.value { max-width: 16rem; }
@media (max-width: 30rem) { body { padding: 0 .6rem; margin: .8rem auto; } h1 { font-size: 1.3rem; } }
@media print {
  nav, .files, .chart > div, #vg-tooltip-element { display: none !important; }
  .chart > img { display: block !important; }
  h2, h3 { break-after: avoid; } .chart, .list tr, .ablation tr { break-inside: avoid; }
  figure, .list, pre { overflow: visible; }
  section.drawn { break-inside: avoid; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .ablation .scroll { max-height: none; overflow: visible; } .ablation thead th { position: static; }
  .ablation table { font-size: 6.6pt; width: 100%; } .ablation th, .ablation td { padding: .1rem .25rem; }
  .ablation th, .ablation td:first-child { white-space: normal; min-width: 0; }
  a { color: inherit; text-decoration: none; }
}
"""

DRAWING = """\
"use strict";
// Long names that stand side by side on a desk stand below each other on a phone.
function narrow(node) {
  if (node === null || typeof node !== "object") return;
  if (node.legend && node.legend.columns > 1) node.legend.columns = 1;
  Object.values(node).forEach(narrow);
}
for (const box of document.querySelectorAll(".chart[data-spec]")) {
  const spec = JSON.parse(document.getElementById(box.dataset.spec).textContent);
  const still = box.querySelector("img");
  const file = document.getElementById(box.dataset.spec + "-svg");
  file.href = still.src;
  file.hidden = false;
  if (!window.vegaEmbed) continue;
  const room = box.clientWidth - 20;
  if ("facet" in spec) {
    const panels = Number(box.dataset.panels);
    spec.columns = Math.max(1, Math.min(panels, Math.floor(room / (spec.spec.width + 60))));
    if ("stretch" in box.dataset) spec.spec.width = Math.min(420, Math.floor(room / spec.columns) - 75);
  } else if ("stretch" in box.dataset) {
    spec.width = "container";
  }
  // Names may take a third of a phone's width, not more.
  spec.config.axisY = {labelLimit: Math.min(240, Math.round(room * .36))};
  spec.config.legend.labelLimit = Math.min(300, room - 60);
  if (room < 520) {
    narrow(spec);
    spec.config.axisX = {titleAnchor: "end"};
  }
  const live = document.createElement("div");
  box.append(live);
  still.hidden = true;
  const options = {mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
                   logLevel: 1, tooltip: {disableDefaultStyle: true}};
  vegaEmbed(live, spec, options).then(
    () => { box.dataset.drawn = "live"; },
    error => { live.remove(); still.hidden = false; box.dataset.drawn = "still"; console.warn(String(error)); });
}
"""


# `</script>` and `<!--` end or change a script element even inside of JSON; the separators end lines of old JavaScript.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_TABLE = str.maketrans(_IN_SCRIPT)


def text(words: object) -> str:
    """One line of visible characters, for content and quoted attributes alike."""
    return escape(visible(str(words)), quote=True)


def block(words: str) -> str:
    """Several lines, each of visible characters, for a `pre`."""
    return "\n".join(text(line.expandtabs(4)) for line in words.splitlines())


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_TABLE)


def data_uri(kind: str, content: str | bytes) -> str:
    """The content as an address that leads nowhere else."""
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def script_hash(script: str) -> str:
    """The script as a Content-Security-Policy names it: nothing else may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


_LICENCE = """\
/*! Vega, Vega-Lite, Vega-Embed and Vega-Tooltip, and the parts of D3 they use.
Copyright (c) 2015-2025, University of Washington Interactive Data Lab (BSD-3-Clause); D3: Copyright Mike Bostock
(ISC).
Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met: 1. Redistributions of source code must retain the above copyright notice, this list of
conditions and the following disclaimer. 2. Redistributions in binary form must reproduce the above copyright notice,
this list of conditions and the following disclaimer in the documentation and/or other materials provided with the
distribution. 3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or
promote products derived from this software without specific prior written permission.
THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE. */
"""


@functools.cache
def vega_script() -> str:
    """A JavaScript module that defines `window.vegaEmbed`; about 0.9 MB, the same bytes at every call."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Both could only stand in a string or a regular expression, where `\\x3c` is `<`.
    return _LICENCE + bundle.replace("</script", "\\x3c/script").replace("<!--", "\\x3c!--")
