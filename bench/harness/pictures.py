"""Horizontal bars as SVG, readable on white and on black, without any library."""

from html import escape
from math import log10

WIDTH, LABEL, BAR, GAP, TOP = 860, 270, 20, 8, 44
OURS, THEIRS = "#d9480f", "#868e96"


def bars(title, values, marked=(), is_log=False):
    """One bar for each name, shortest on top; those in `marked` stand out."""
    items = sorted(values.items(), key=lambda item: item[1])
    height = TOP + len(items) * (BAR + GAP) + GAP
    room = WIDTH - LABEL - 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        "<style>text{fill:#212529}@media(prefers-color-scheme:dark){text{fill:#e9ecef}}</style>",
        f'<text x="8" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for index, (name, value) in enumerate(items):
        y = TOP + index * (BAR + GAP)
        length = max(2, share(value, [v for _, v in items], is_log) * room)
        is_ours = name in marked
        weight = ' font-weight="bold"' if is_ours else ""
        middle = y + BAR * 0.72
        label = escape(name.replace("`", ""))
        parts += [
            f'<text x="{LABEL - 8}" y="{middle:.0f}" text-anchor="end"{weight}>{label}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"'
            f' fill="{OURS if is_ours else THEIRS}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{middle:.0f}"{weight}>{shown(value)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def share(value, values, is_log):
    """How much of the room a value takes; a log scale begins a little below the least."""
    if not is_log:
        return value / max(values)
    least, most = log10(min(values)) - 0.3, log10(max(values))
    return (log10(value) - least) / (most - least)


def shown(value):
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
