"""Bars and curves as SVG, readable on white and on black, without any library."""

from html import escape
from math import log10

WIDTH, LABEL, BAR, GAP, TOP = 860, 270, 20, 8, 44
OURS, THEIRS = "#d9480f", "#868e96"


def bars(title, values, marked=(), is_log=False):
    """One bar for each name, shortest on top; those in `marked` stand out."""
    items = sorted(values.items(), key=lambda item: item[1])
    height = TOP + len(items) * (BAR + GAP) + GAP
    room = WIDTH - LABEL - 90
    parts = head(title, height)
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


def head(title, height):
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        "<style>text{fill:#212529}@media(prefers-color-scheme:dark){text{fill:#e9ecef}}</style>",
        f'<text x="8" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]


ACROSS, PANEL_HEIGHT, MARGIN = 3, 190, 40


def panels(title, curves, quadratic_power):
    """A small picture for each curve, with logarithmic axes. The dashed line shows a quadratic
    cost; `quadratic_power` returns its slope."""
    height = TOP + -(-len(curves) // ACROSS) * PANEL_HEIGHT
    parts = head(title, height)
    for index, (name, points) in enumerate(curves.items()):
        left = index % ACROSS * (WIDTH / ACROSS)
        top = TOP + index // ACROSS * PANEL_HEIGHT
        parts.append(f'<g transform="translate({left:.0f} {top})">')
        parts += [*panel(name, points, quadratic_power(name)), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def panel(name, points, power):
    wide, high = WIDTH / ACROSS - 2 * MARGIN, PANEL_HEIGHT - 2 * MARGIN
    (least, first), (most, last) = points[0], points[-1]
    floor = log10(min(cost for _, cost in points))
    roof = max(floor + 3, log10(max(cost for _, cost in points)) + 0.3)

    def at(size, cost):
        x = MARGIN + wide * (log10(size / least) / max(log10(most / least), 0.1))
        y = 18 + high * min(1, max(0, (roof - log10(cost)) / (roof - floor)))
        return f"{x:.1f},{y:.1f}"

    # The dashed line ends where it leaves the picture.
    end = min(most, least * 10 ** ((roof - log10(first)) / power))
    dots = [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{OURS}"/>' for x, y in
            (at(*point).split(",") for point in points)]
    bottom = PANEL_HEIGHT - MARGIN
    return [
        f'<text x="{MARGIN}" y="8" font-weight="bold">{escape(name)}</text>',
        f'<polyline points="{at(least, first)} {at(end, first * (end / least) ** power)}"'
        f' stroke="{THEIRS}" stroke-dasharray="4 4" fill="none"/>',
        f'<polyline points="{" ".join(at(*point) for point in points)}" stroke="{OURS}"'
        ' stroke-width="2" fill="none"/>',
        *dots,
        f'<text x="{MARGIN}" y="{bottom + 4}">{least:,}: {shown(first)}</text>',
        f'<text x="{MARGIN + wide:.0f}" y="{bottom + 4}" text-anchor="end">'
        f"{most:,}: {shown(last)}</text>",
    ]


def share(value, values, is_log):
    """The share of the width that a value takes; a log scale begins a little below the least."""
    if not is_log:
        return value / max(values)
    least, most = log10(min(values)) - 0.3, log10(max(values))
    return (log10(value) - least) / (most - least)


def shown(value):
    if value < 1:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
