"""A plot as SVG: lines of points, both axes logarithmic."""

import math

WIDTH, HEIGHT = 760, 460
LEFT, TOP, RIGHT, BOTTOM = 80, 44, 190, 60


def decades(values):
    return (math.floor(math.log10(min(values)) + 1e-9),
            math.ceil(math.log10(max(values)) - 1e-9))


def svg(title, x_label, y_label, series):
    """series: [(name, color, dash pattern or "", [(x, y)])]"""
    sizes = sorted({x for *_, points in series for x, _ in points})
    x0, x1 = math.log10(sizes[0]), math.log10(sizes[-1])
    y0, y1 = decades([y for *_, points in series for _, y in points])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(value):
        return LEFT + (math.log10(value) - x0) / (x1 - x0 or 1) \
            * (right - LEFT)

    def y(value):
        return bottom - (math.log10(value) - y0) / (y1 - y0 or 1) \
            * (bottom - TOP)

    def text(at_x, at_y, words, anchor="start", more=""):
        out.append(f'<text x="{at_x:.1f}" y="{at_y:.1f}" '
                   f'text-anchor="{anchor}"{more}>{words}</text>')

    def line(path, color, more=""):
        out.append(f'<path d="{path}" stroke="{color}" fill="none"{more}/>')

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
           f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    text(LEFT, 24, title, more=' font-size="15"')
    for exponent in range(y0, y1 + 1):
        at = y(10 ** exponent)
        line(f"M{LEFT} {at:.1f}H{right}", "#bbb")
        text(LEFT - 8, at + 4, f"{10 ** exponent:g}", "end")
        for part in range(2, 10) if exponent < y1 else ():
            at = y(part * 10 ** exponent)
            line(f"M{LEFT} {at:.1f}H{right}", "#eee")
    for size in sizes:
        line(f"M{x(size):.1f} {TOP}V{bottom}", "#bbb")
        text(x(size), bottom + 20, f"{size:,}", "middle")
    text((LEFT + right) / 2, HEIGHT - 14, x_label, "middle")
    middle = (TOP + bottom) / 2
    text(22, middle, y_label, "middle",
         f' transform="rotate(-90 22 {middle:.1f})"')

    for nth, (name, color, dash, points) in enumerate(series):
        style = ' stroke-width="2"' \
            + (f' stroke-dasharray="{dash}"' if dash else "")
        line("M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points),
             color, style)
        for a, b in points:
            out.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" '
                       f'fill="{color}"/>')
        at = TOP + 12 + 22 * nth
        line(f"M{right + 18} {at}h30", color, style)
        text(right + 54, at + 4, name)
    return "\n".join([*out, "</svg>", ""])
