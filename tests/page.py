# SPDX-License-Identifier: GPL-2.0-only
"""A page of remapctl report, taken apart by somebody who has not written it.

page.py FILE prints as JSON what stands there to be seen: "surface", "places" and "blocks", the
blocks that the hovers of the map, those of the places and the table name, all as list --json has
them; "hovers", the map's; "text", all that is read; "data", the JSON that the page carries. It fails where a tag is not closed, where an <svg> is
no XML, and where anything would be fetched.
"""
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.data, self.rows, self.ids = [], [], [], [], set()
        self.scripts = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        for name, value in attrs.items():
            if name.startswith("on"):
                sys.exit(f"<{tag}> has {name}")
            if name in ("src", "srcset", "action", "data", "poster", "background"):
                sys.exit(f"<{tag}> fetches {value}")
            if name in ("href", "xlink:href") and not value.startswith("#"):
                sys.exit(f"<{tag}> goes to {value}")
        if tag not in VOID:
            self.open.append((tag, attrs.get("id")))
        self.ids.add(attrs.get("id"))
        if tag == "script":
            self.scripts.append(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            sys.exit(f"line {self.getpos()[0]}: </{tag}> ends {self.open[-1:]}")
        self.open.pop()

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        if tags and tags[-1] == "script":
            if ("script", "data") in self.open:
                self.data.append(data)
        elif "style" not in tags and "title" not in tags:
            self.text.append(data)
            if ("table", "blocks") in self.open and tags[-1] == "td":
                self.rows[-1][-1] += data


def sectors(text):
    """"5-7, 9" as numbers"""
    for part in filter(None, re.split(r",\s*", text)):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def named(lines, size):
    """The blocks that hovers name, of @size sectors each"""
    for line in lines:
        match = re.fullmatch(r"sectors (\d+)-(\d+): (?:slot (\d+)|(\d+) blocks, slots (\d+)-\d+)"
                             r"(?:; lost (.*))?", line)
        if not match:
            continue
        first, last, slot, n, slots, lost = match.groups()
        for i in range(int(n or 1)):
            yield {"sector": int(first) + i * size, "count": size, "slot": int(slot or slots) + i,
                   "lost": list(sectors(lost or ""))}
        if int(first) + int(n or 1) * size - 1 != int(last):
            sys.exit(f"{line}: not so many")


def hovers(svg):
    tree = ElementTree.fromstring(svg)
    return [title.text for title in tree.iter("title")]


def main():
    source = open(sys.argv[1], encoding="utf-8").read()
    page = Page()
    page.feed(source)
    page.close()
    if page.open:
        sys.exit(f"not closed: {page.open}")
    if re.search(r"(?i)url\((?!#)|@import|https?:|<!--", source.replace("http-equiv", "")):
        sys.exit("something would be fetched")
    svgs = re.findall(r"(?s)<svg.*?</svg>", source)
    names = [ElementTree.fromstring(svg).get("id") or ElementTree.fromstring(svg).get("class")
             for svg in svgs]
    blocks = []
    for row in page.rows:
        if len(row) == 3 and re.fullmatch(r"\d+-\d+", row[0]):
            first, last = map(int, row[0].split("-"))
            blocks.append({"sector": first, "count": last - first + 1, "slot": int(row[1]),
                           "lost": list(sectors(row[2]))})
    data = json.loads("".join(page.data))
    size = data["device"]["block_size"] // 512
    surface = [t for n, s in zip(names, svgs) if n == "surface" for t in hovers(s)]
    places = [t for n, s in zip(names, svgs) if n == "strip" for t in hovers(s)]
    json.dump({
        "ids": sorted(filter(None, page.ids)),
        "scripts": len(page.scripts),
        "surface": list(named((line for t in surface for line in t.split("\n")), size)),
        "places": list(named(places, size)),
        "hovers": surface,
        "latency": sum(len(hovers(s)) for n, s in zip(names, svgs) if n == "flat latency"),
        "blocks": blocks,
        "text": " ".join(" ".join(page.text).split()),
        "data": data,
    }, sys.stdout)


main()
