#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The figures of tests/bench/map/lookup.c (JSON, standard input) as a plot (SVG, standard output):
time of a look-up by number of entries, both axes logarithmic, a panel for each pattern and kind."""

import json
import math
import sys

COLOURS = {"dm-remap": "#c00", "sorted array": "#06c", "hash": "#090",
           "red-black tree": "#a50", "list": "#777"}
PANELS = [("scattered", "miss"), ("scattered", "hit"), ("dense", "miss"), ("dense", "hit")]
WIDTH, HEIGHT, LEFT, TOP = 380, 230, 50, 40
LOWEST, HIGHEST = 0, 4          # powers of ten, in ns


def panel(rows, pattern, kind, left, top):
    rows = [r for r in rows if r["pattern"] == pattern]
    sizes = sorted({r["entries"] for r in rows})
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])
    w, h = WIDTH - LEFT - 20, HEIGHT - TOP - 30

    def x(n):
        return left + LEFT + w * (math.log10(n) - first) / ((last - first) or 1)

    def y(ns):
        at = min(max(math.log10(max(ns, 1e-9)), LOWEST), HIGHEST)
        return top + TOP + h * (HIGHEST - at) / (HIGHEST - LOWEST)

    yield (f'<text x="{left + LEFT}" y="{top + TOP - 10}" font-weight="bold">'
           f'{kind}, remaps {pattern}</text>')
    for power in range(LOWEST, HIGHEST + 1):
        at = y(10 ** power)
        yield (f'<path d="M{x(sizes[0]):.1f} {at:.1f}H{x(sizes[-1]):.1f}" stroke="#ddd"/>'
               f'<text x="{left + LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
               f'{10 ** power}</text>')
    for n in sizes:
        yield (f'<text x="{x(n):.1f}" y="{top + HEIGHT - 12}" text-anchor="middle">'
               f'10<tspan dy="-4" font-size="8">{round(math.log10(n))}</tspan></text>')
    for design, colour in COLOURS.items():
        points = sorted((r["entries"], r[kind]) for r in rows if r["design"] == design)
        if points:
            line = "L".join(f"{x(n):.1f} {y(ns):.1f}" for n, ns in points)
            yield f'<path d="M{line}" stroke="{colour}" stroke-width="2" fill="none"/>'


def main():
    rows = json.load(sys.stdin)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" '
          f'height="{2 * HEIGHT + 40}" font-family="sans-serif" font-size="11">'
          '<rect width="100%" height="100%" fill="#fff"/>'
          f'<text x="{LEFT}" y="16">ns for each look-up, by number of remaps</text>')
    for i, (pattern, kind) in enumerate(PANELS):
        for line in panel(rows, pattern, kind, i % 2 * WIDTH, i // 2 * HEIGHT):
            print(line)
    for i, (design, colour) in enumerate(COLOURS.items()):
        print(f'<text x="{LEFT + i * 130}" y="{2 * HEIGHT + 25}" fill="{colour}" '
              f'font-weight="bold">{design}</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
