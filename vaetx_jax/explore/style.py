"""The frame of the explorer's page: its HTML around Dash's, and its style. Nothing from outside."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{%title%}</title>
<link rel="icon" href="data:,">
{%css%}
<style>
STYLE
</style>
</head>
<body>
{%app_entry%}
<noscript>This page needs JavaScript, which comes from this machine alone.</noscript>
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light; --ink: #1d2733; --soft: #55616d; --line: #d5dbe1; --ground: #f6f7f9;
  --accent: #0b5cad; }
html:root { --Dash-Fill-Interactive-Strong: #0b5cad; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html { scroll-padding-top: 1rem; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  margin: 0; overflow-wrap: anywhere; }
#explorer { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p { margin: .3rem 0 .6rem; }
a { color: var(--accent); }
.soft { color: var(--soft); font-size: .9rem; }
.warning { border-left: 4px solid #b45309; padding: .3rem .7rem; background: #fff7e6; }
.problem { border-left: 4px solid #b3261e; padding: .3rem .7rem; background: #fdeeee; margin: 0; }
#unanswered { position: sticky; top: 0; z-index: 2; margin-bottom: .6rem; }
#map, [aria-live] { transition: opacity .2s; }
#map[data-dash-is-loading], [aria-live][data-dash-is-loading] { opacity: .4;
  transition-delay: .5s; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0;
  margin: .6rem 0 1rem; }
nav a { display: inline-block; padding: .3rem 0; }
section { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 1rem;
  margin-bottom: 1rem; min-width: 0; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 1rem; }
@media (min-width: 64rem) {
  .pair { grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); align-items: start; }
}
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1rem; }
.curves > div { min-width: 0; }
fieldset { border: 0; padding: 0; margin: 0 0 .8rem; min-width: 0; }
legend, .field > label { font-weight: 600; padding: 0; display: block; margin-bottom: .2rem;
  font-size: .95rem; }
.choices { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
.choices label { display: inline-flex; align-items: center; gap: .4rem; min-height: 2rem; }
.field { margin-bottom: .8rem; }
.field .dash-input-container { width: 100%; height: auto; border: 0; outline: 0; background: none;
  overflow: visible; }
.words input { width: 100%; font: inherit; color: inherit; padding: .5rem .6rem; background: white;
  border: 1px solid #7d8894; border-radius: 6px; min-height: 2.6rem; }
.field input[type=range] { width: 100%; height: 2rem; margin: 0; padding: 0; }
button.act, button.pick { font: inherit; cursor: pointer; border-radius: 6px; }
button.act { background: var(--accent); color: white; border: 1px solid var(--accent);
  padding: .45rem 1rem; min-height: 2.6rem; }
button.plain { background: white; color: var(--accent); }
button.pick { background: none; color: var(--accent); border: 0; padding: .25rem 0;
  text-align: left; text-decoration: underline; text-underline-offset: 3px;
  text-decoration-color: #9db6d0; }
.acts { display: flex; flex-wrap: wrap; gap: .5rem; margin: .4rem 0 .8rem; }
:focus-visible, .field .dash-input-container input:focus-visible { outline: 3px solid #c2410c;
  outline-offset: 2px; border-radius: 4px; }
.said { font-size: 1.1rem; border-left: 4px solid var(--accent); padding: .15rem .8rem;
  margin: .3rem 0 .6rem; white-space: pre-wrap; }
ol, ul.list { margin: .2rem 0 .6rem; padding-left: 2rem; }
ol li { padding: .1rem 0; white-space: pre-wrap; }
ul.list { list-style: none; padding: 0; }
ul.list li { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline;
  border-bottom: 1px solid var(--line); }
li.now { font-weight: 600; }
.score { white-space: nowrap; color: var(--soft); font-size: .85rem;
  font-variant-numeric: tabular-nums; }
#moved { position: sticky; top: 0; background: white; z-index: 1; }
.sliders { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr));
  gap: 0 2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid var(--line); }
""".strip()


def index() -> str:
    """The page's frame, in Dash's notation."""
    return PAGE.replace("STYLE", STYLE)
