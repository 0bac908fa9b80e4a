"""Draws the benchmark's figures as SVG: groups of bars, on a ground of their own, so that they can be read on a light
page and on a dark one."""

import os
import pathlib
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE = 720, 190, 90  # of the picture, of the groups' names, of the numbers behind bars
BAR, GAP, TOP, BOTTOM = 15, 12, 62, 14
NAMES = {"direct": "direct", "haproxy": "HAProxy, TCP", "splice": "HAProxy, TCP, splice", "nginx": "nginx stream",
         "shim": "fcgi-realip"}
COLORS = {"haproxy": "#e69f00", "splice": "#cc79a7", "nginx": "#009e73", "shim": "#3d8bd4", "realip": "#009e73"}
STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 14px; font-weight: 600; }
    .ground { fill: #ffffff; stroke: #d0d7de; }
    .axis { stroke: #8c959f; }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3; }
        .ground { fill: #0d1117; stroke: #30363d; }
    }
"""


class Chart(NamedTuple):
    file: str
    title: str
    groups: list  # of (label, [(series, value), ...])
    names: dict = NAMES


def show_number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def series_of(chart):
    """The series in the order in which they first come."""
    return list(dict.fromkeys(series for _, bars in chart.groups for series, _ in bars))


def draw_legend(chart):
    parts, x = [], 16
    for series in series_of(chart):
        name = chart.names[series]
        parts.append(f'<rect x="{x}" y="36" width="10" height="10" fill="{COLORS[series]}"/>'
                     f'<text x="{x + 15}" y="45">{escape(name)}</text>')
        x += 40 + 7 * len(name)
    return parts


def draw_groups(chart):
    """The bars' elements, and where they end."""
    most = max(value for _, bars in chart.groups for _, value in bars)
    scale, parts, y = (WIDTH - LABEL - VALUE) / most, [], TOP
    for label, bars in chart.groups:
        height = len(bars) * BAR
        middle = y + height / 2 + 4
        parts.append(f'<text x="{LABEL - 10}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<line class="axis" x1="{LABEL}" y1="{y - 2}" x2="{LABEL}" y2="{y + height + 1}"/>')
        for series, value in bars:
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{max(value * scale, 1):.1f}" height="{BAR - 2}" '
                         f'fill="{COLORS[series]}"/>'
                         f'<text x="{LABEL + value * scale + 6:.1f}" y="{y + 11}">{show_number(value)}</text>')
            y += BAR
        y += GAP
    return parts, y - GAP + BOTTOM


def draw_chart(chart):
    bars, height = draw_groups(chart)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'<text class="title" x="16" y="24">{escape(chart.title)}</text>', *draw_legend(chart), *bars, "</svg>", ""])


# ---- what is drawn

def bars_of(points, name, field, relays):
    """A point's bars; None if it was not measured."""
    summary = points.get(name, {}).get("one", {})
    bars = [(relay, summary[relay][field]) for relay in relays if field in summary.get(relay, {})]
    return bars if "shim" in dict(bars) else None


def chart_relays(points, file, title, field, groups, relays):
    found = [(label, bars_of(points, name, field, relays)) for name, label in groups]
    return Chart(file, title, [(label, bars) for label, bars in found if bars])


def list_relay_charts(document):
    points = {entry["point"]["name"]: entry["summary"] for entry in document}
    title = "CPU time of the relay a request, in microseconds: answers of 1 KB"
    yield chart_relays(points, "requests.svg", title, "cpu_us", [
        ("kept/1", "kept, 1 at a time"), ("kept/32", "kept, 32"), ("header-7k", "kept, 32, header of 7 KB"),
        ("kept/256", "kept, 256"), ("reconnect/32", "reconnecting, 32"), ("reconnect/256", "reconnecting, 256")], ("haproxy", "nginx", "shim"))
    yield chart_relays(points, "bytes.svg", "CPU time of the relay for each GB, in milliseconds", "cpu_ms_gb", [
        ("answer-64k", "answers of 64 KB"), ("answer-1m", "answers of 1 MB"), ("body-1m", "bodies of 1 MB")],
        ("haproxy", "nginx", "splice", "shim"))
    yield chart_relays(points, "latency.svg", "Latency added over direct, one connection, in microseconds", "added_us",
                       [("kept/1", "kept"), ("reconnect/1", "reconnecting")], ("haproxy", "nginx", "shim"))


def chart_memory(document):
    bars = [(entry["relay"], entry["bytes"] / 1024) for entry in document]
    return Chart("memory.svg", "Memory of an idle kept connection, in KB", [("5,000 connections", bars)])


def chart_php(document):
    names = {"realip": "nginx with its realip module", "shim": "nginx and fcgi-realip"}
    groups = []
    for entry in document:
        processors = {"one": "one processor", "two": "two processors"}[entry["processors"]]
        for suffix, label in (("", ""), (", kept", ", nginx keeps")):
            groups.append((processors + label, [(series, entry["summary"][series + suffix]["per_second"])
                                                for series in names]))
    return Chart("php.svg", "Requests a second of a small page of php-fpm, 8 at a time", groups, names)


def draw(document, folder):
    """Writes a file for each chart whose part was measured."""
    parts = document["parts"]
    charts = list(list_relay_charts(parts.get("relays", [])))
    if "memory" in parts:
        charts.append(chart_memory(parts["memory"]))
    if "php" in parts:
        charts.append(chart_php(parts["php"]))
    os.makedirs(folder, exist_ok=True)
    for chart in charts:
        if chart.groups:
            pathlib.Path(folder, chart.file).write_text(draw_chart(chart))
