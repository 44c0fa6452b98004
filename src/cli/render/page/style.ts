/** Colours keep their contrast in light and dark, and differ in lightness for readers who do not see red and green apart. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fcfcfb; --text: #1c2024; --quiet: #5d666f; --rule: #d9dde1; --tile: #f2f4f5;
  --full: #12508c; --diff: #b3610b; --incr: #2f9482; --window: #7fb08a; --gap: #b3261e; --wal: #6d7fa3;
  --ok: #1e6b34; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --text: #e7eaec; --quiet: #a0a9b1; --rule: #363d43; --tile: #1f2428;
    --full: #74b0ee; --diff: #f0a44c; --incr: #4fc3ad; --window: #4f7d5a; --gap: #f0776f; --wal: #91a4cc;
    --ok: #7fcf95; --bad: #f0776f;
  }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-top: 2px solid var(--rule); padding-top: 1rem }
h3 { font-size: 1rem; margin: 0 } section > h3 { margin-top: 1rem }
p { margin: .25rem 0 } .quiet { color: var(--quiet) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .75rem; margin: 1rem 0 }
dl > div { background: var(--tile); border-radius: .4rem; padding: .6rem .8rem; border-left: 4px solid var(--rule) }
dl > .ok { border-color: var(--ok) } dl > .bad { border-color: var(--bad) }
dt { color: var(--quiet); font-size: .85rem } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere }
dd small { display: block; font-weight: 400; color: var(--quiet) }
figure { margin: 1.5rem 0; break-inside: avoid }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: baseline }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; color: var(--quiet); font-size: .85rem }
.legend svg { vertical-align: -2px; margin-right: .3rem }
.plot, .scroll { overflow-x: auto } .plot svg { display: block; width: 100%; min-width: 40rem; height: auto }
.grid { stroke: var(--rule); stroke-width: 1 } .tick { fill: var(--quiet); font-size: 12px; font-family: inherit }
.chain { stroke: var(--quiet); stroke-width: 1.5 } .pin { stroke: var(--text); stroke-width: 2 }
.error { fill: none; stroke: var(--bad); stroke-width: 2 }
.full { fill: var(--full) } .diff { fill: var(--diff) } .incr { fill: var(--incr) } .wal { fill: var(--wal) }
.window { fill: var(--window) } .gap { fill: var(--page); stroke: var(--gap); stroke-width: 1.5; stroke-dasharray: 3 2 }
.passed { fill: var(--ok) } rect.error { stroke-dasharray: 2 2 } .failed { fill: var(--bad) }
.size { fill: var(--full) } .stored { fill: var(--diff) }
.line { fill: none; stroke-width: 2 } .line.size { stroke: var(--full) } .line.stored { stroke: var(--diff); stroke-dasharray: 6 3 }
ul.findings { list-style: none; margin: .5rem 0; padding: 0 }
.findings li { background: var(--tile); border-left: 4px solid var(--rule); border-radius: .4rem; margin: .5rem 0; padding: .5rem .8rem }
.findings .bad { border-color: var(--bad) } .findings pre { overflow-x: auto; margin: .25rem 0 0; font-size: .85rem }
details { font-size: .85rem } summary { cursor: pointer; color: var(--quiet) }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--quiet); padding-bottom: .25rem }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--rule); vertical-align: top }
td { white-space: pre-wrap }
@media print {
  :root { --page: #fff; --text: #000; --quiet: #444; --rule: #bbb; --tile: #fff;
    --full: #12508c; --diff: #b3610b; --incr: #2f9482; --window: #7fb08a; --gap: #b3261e; --wal: #6d7fa3; --bad: #b3261e }
  body { padding: 0; max-width: none; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact }
  details:not([open]) { display: none } .plot svg { min-width: 0 } h2 { break-after: avoid }
}
`
