"""How reports look: readable on a phone and on paper, without anything from elsewhere."""

STYLE = """
:root { color-scheme: light; --ink: #1f2430; --soft: #5b6473; --line: #dfe3ea; --back: #f4f6f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main { max-width: 1120px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 24px; }
h1 { font-size: 1.7rem; margin: 0; }
header p { margin: 2px 0 14px; color: var(--soft); overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 14px 0; }
a { color: #1a5fb4; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 18px;
  margin: 0 0 18px; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 0; }
dl.facts div { background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 10px 14px; }
dt, .small { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dd.small { font-size: .85rem; font-weight: 400; }
figure { margin: 0 0 22px; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: 4px; max-width: 46rem; }
figure.svg { overflow: auto; max-height: 80vh; border: 1px solid var(--line); border-radius: 6px; }
figure.svg { margin-top: 6px; }
figure.svg text { font-family: Arial, "Liberation Sans", Helvetica, sans-serif; }
figure.svg svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
#full:checked ~ figure.svg text { font-family: Arial, "Liberation Sans", Helvetica, sans-serif; }
figure.svg svg { max-width: none; }
.scroll { overflow-x: auto; margin: 0 0 16px; }
.tall { max-height: 26rem; overflow-y: auto; }
.beside { display: grid; grid-template-columns: minmax(0, 1.7fr) minmax(0, 1fr); gap: 22px; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px 4px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
thead th { position: sticky; top: 0; background: #fff; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
table.options td:first-child { white-space: nowrap; }
tr.best td { font-weight: 600; background: #eef5ee; }
table.facts td { overflow-wrap: anywhere; }
code { background: var(--back); padding: 1px 4px; border-radius: 4px; font-size: .9em; }
@media (max-width: 760px) {
  .beside { grid-template-columns: minmax(0, 1fr); }
  section { padding: 12px; border-radius: 0; margin-left: -16px; margin-right: -16px; }
}
@media print { .tall, figure.svg { max-height: none; overflow: visible; } nav { display: none; } }
"""
