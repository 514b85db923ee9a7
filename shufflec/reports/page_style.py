"""The style sheet of report.html: light and dark, system fonts, no external resource."""

from __future__ import annotations

from shufflec.reports import cost_words, wording

# Fill colours by category, for a light and a dark ground; what does the arithmetic is coloured, what moves bytes is
# grey, a shuffle copy (there should be none) is red. Neighbours differ in lightness too, for colour-blind readers.
_COLOURS = {
    "convolution": ("#2563c9", "#6ea0f5"),
    "depthwise": ("#e08a1e", "#f0ac4e"),
    "pooling": ("#0f9d77", "#3cc79c"),
    "classifier": ("#8a4fd0", "#b48af0"),
    "element-wise": ("#6b7583", "#8d98a8"),
    "shuffle copy": ("#d3323a", "#f26a6f"),
    "input, output": ("#b3bcc8", "#58626f"),
    "other": ("#8c6d4f", "#b39474"),
}


# The same for what the core waited for: at work green, its own results amber, its ports blue to violet, memory red.
_WAIT_COLOURS = {
    "dispatch": ("#2f9e6e", "#46b583"),
    "latency": ("#e3a21a", "#f0bb4e"),
    "simd_port": ("#2563c9", "#6ea0f5"),
    "load_port": ("#5b8fe0", "#9dbef7"),
    "store_port": ("#8a4fd0", "#b48af0"),
    "load_store_port": ("#8a4fd0", "#b48af0"),
    "integer_port": ("#8fa3bd", "#7f90a8"),
    "branch_port": ("#b3bcc8", "#58626f"),
    "load_misses": ("#f0948a", "#f7aaa2"),
    "store_misses": ("#d3323a", "#f26a6f"),
    "dram": ("#7d1220", "#b3303f"),
}


def wait_colour(name: str) -> str:
    """The CSS class that fills a shape with the colour of one of cost_words.WAITS."""
    return f"w{list(cost_words.WAITS).index(name)}"


def colour(category: str) -> str:
    """The CSS class that fills a shape with a category's colour."""
    return f"k{[*wording.CATEGORIES, wording.OTHER].index(category)}"


def _variables(column: int) -> str:
    kinds = "".join(f"--{colour(name)}:{pair[column]};" for name, pair in _COLOURS.items())
    return kinds + "".join(f"--{wait_colour(name)}:{pair[column]};" for name, pair in _WAIT_COLOURS.items())


_LIGHT = (
    "--ground:#f6f7f9;--card:#fff;--ink:#1b2129;--soft:#5a6472;--line:#dde2e9;--grid:#e8ecf1;"
    "--good:#0b7a4b;--good-ground:#e2f5ec;--bad:#b3202a;--bad-ground:#fde8e9;--note:#7a5200;--note-ground:#fff1d6;"
)
_DARK = (
    "--ground:#12161b;--card:#1a2028;--ink:#e6eaf0;--soft:#9aa5b4;--line:#2d3641;--grid:#262e38;"
    "--good:#5fd6a0;--good-ground:#12301f;--bad:#ff8d92;--bad-ground:#3b171a;--note:#f2c36b;--note-ground:#372a10;"
)

_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 4px}
p{margin:0 0 12px}
.soft{color:var(--soft)}
.small{font-size:13px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px;margin-top:16px;
 overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(225px,1fr));gap:12px;margin-top:20px}
.figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.figure b{display:block;font-size:24px;line-height:1.25;font-variant-numeric:tabular-nums}
.figure span{display:block;font-size:13px;color:var(--soft)}
.figure .name{color:var(--ink);font-weight:600}
.badge{display:inline-block;padding:1px 9px;border-radius:99px;font-size:12px;font-weight:600;vertical-align:2px}
.good{color:var(--good);background:var(--good-ground)}
.bad{color:var(--bad);background:var(--bad-ground)}
.note{color:var(--note);background:var(--note-ground)}
.verdicts{list-style:none;margin:16px 0 0;padding:0;display:grid;gap:6px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 12px;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;vertical-align:-1px}
svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
svg text.soft{fill:var(--soft)}
svg .end{text-anchor:end}
svg .mid{text-anchor:middle}
svg .strong{font-weight:600}
svg .axis{stroke:var(--line)}
svg .grid{stroke:var(--grid)}
svg .row:hover rect.hit{fill:var(--grid)}
svg rect.hit{fill:transparent}
svg .cell{stroke:var(--card);stroke-width:1}
svg .wire{fill:none;stroke-width:1.2;opacity:.75}
svg .frame{fill:none;stroke:var(--soft)}
svg .copy{fill:var(--bad-ground);stroke:var(--bad)}
svg .bad-ink{fill:var(--bad)}
svg .good-ink{fill:var(--good)}
svg .roof{stroke:var(--ink);stroke-width:1.6}
svg .roof.dram{stroke-dasharray:7 4}
svg .dot{stroke:var(--card);stroke-width:1}
svg .link{stroke:var(--soft);stroke-width:.7;opacity:.6}
svg .leader{stroke:var(--soft);stroke-width:.8}
svg .peak{stroke:var(--ink);stroke-dasharray:5 4}
.scroll{overflow-x:auto}
.scroll svg{min-width:720px}
table{border-collapse:collapse;font-size:13px;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid var(--grid);white-space:nowrap}
th.n,td.n{text-align:right}
td.wrap{white-space:normal}
tfoot td{font-weight:600;border-bottom:0}
details{margin-top:12px}
details summary{cursor:pointer;font-weight:600}
details[open] summary{margin-bottom:10px}
dl{display:grid;grid-template-columns:minmax(110px,max-content) 1fr;gap:4px 18px;margin:8px 0 0;font-size:14px}
dt{color:var(--soft)}
dd{margin:0}
ol{margin:0 0 12px;padding-left:22px}
footer{margin-top:24px;color:var(--soft);font-size:13px}
@media (max-width:600px){.figures{grid-template-columns:1fr 1fr}}
@media print{body{background:#fff}.card,.figure{break-inside:avoid}}
"""


def style_sheet() -> str:
    """The content of the page's one <style> element."""
    fills = "".join(
        f".{colour(name)}{{fill:var(--{colour(name)});background:var(--{colour(name)})}}"
        f"svg .wire.{colour(name)}{{fill:none;stroke:var(--{colour(name)})}}"
        f"svg .ring.{colour(name)}{{fill:none;stroke:var(--{colour(name)});stroke-width:1.4}}"
        for name in _COLOURS
    )
    fills += "".join(
        f".{wait_colour(name)}{{fill:var(--{wait_colour(name)});background:var(--{wait_colour(name)})}}"
        for name in _WAIT_COLOURS
    )
    return (
        f":root{{color-scheme:light dark;{_LIGHT}{_variables(0)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_DARK}{_variables(1)}}}}}{_RULES}{fills}"
    )
