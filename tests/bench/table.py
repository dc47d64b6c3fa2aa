"""Medians over the rounds, ratios to nginx, and the table that people read."""

from collections import Counter
from dataclasses import dataclass
from statistics import median

BASE = "nginx"


@dataclass(frozen=True)
class Column:
    """One column: `key` of the measurement, its heading, digits after the point."""
    key: str
    heading: str
    digits: int = 0
    ratio: bool = False  # followed by a column with the ratio to nginx


RATE = (Column("rate", "req/s", 0, True),)
BYTES = (Column("mib_s", "MiB/s", 0, True),)
LOAD = (Column("cpu_us", "CPU µs/req", 1, True), Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2),
        Column("switches", "switches/req", 2), Column("rss_mib", "RSS MiB", 1))
BURST = (Column("answered", "answered"), Column("all_ms", "all after ms", 0, True), *LOAD)
IDLE = (Column("kib_each", "KiB/connection", 2, True), Column("before_mib", "RSS before MiB", 1),
        Column("after_mib", "RSS after MiB", 1), Column("threads", "threads"), Column("connections", "answered"),
        Column("again", "answered again"))
MEMORY = (Column("rss_kib", "RSS KiB", 0, True), Column("threads", "threads"))


def columns(work):
    """The columns of a work; the first one with a ratio is what the spread is told of."""
    if work.kind in ("load", "handshake"):
        return (BYTES if work.target != "/" else RATE) + LOAD
    return {"burst": BURST, "idle": IDLE, "memory": MEMORY}[work.kind]


def summary(rounds):
    """Medians of all numbers over the measurements of one proxy; errors of all rounds added up."""
    found = {"rounds": len(rounds)}
    for key in {key: None for one in rounds for key in one}:
        if key == "errors":
            continue
        numbers = [one[key] for one in rounds if one.get(key) is not None]
        found[key] = median(numbers) if numbers else None
    errors = Counter()
    for one in rounds:
        errors.update(one["errors"])
    found["errors"] = dict(errors)
    return found


def spread(rounds, key):
    """(largest − smallest) / median of one number over the rounds; None when that says nothing."""
    numbers = [one[key] for one in rounds if one.get(key)]
    return (max(numbers) - min(numbers)) / median(numbers) if len(numbers) > 1 else None


def table(work, measured):
    """Lines of text for one work; `measured`: {proxy: [measurement, …]}."""
    shown = columns(work)
    main = next(column.key for column in shown if column.ratio)
    heads = ["proxy"]
    for column in shown:
        heads += [column.heading] + ([f"×{BASE}"] if column.ratio else [])
    rows = [heads + ["errors", "spread"]]
    sums = {name: summary(rounds) for name, rounds in measured.items() if rounds}
    base = sums.get(BASE, {})
    for name, found in sums.items():
        row = [name]
        for column in shown:
            row.append(_number(found.get(column.key), column.digits))
            if column.ratio:
                row.append(_ratio(found.get(column.key), base.get(column.key)))
        part = spread(measured[name], main)
        rows.append(row + [str(sum(found["errors"].values())), "–" if part is None else f"{part:.0%}"])
    lines = [f"{work.name}: {work.what}"] + _aligned(rows)
    for name, found in sums.items():
        if found["errors"]:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(found["errors"].items()))
            lines.append(f"  errors of {name}, all rounds: {reasons}")
    return lines


def _number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def _ratio(value, base):
    return "–" if value is None or not base else f"{value / base:.2f}"


def _aligned(rows):
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  " + "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in
                                                          zip(row[1:], widths[1:])]) for row in rows]
