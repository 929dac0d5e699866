"""All benches, and the page that tells of them: `make bench` writes docs/performance.md.

    python bench/run.py [--quick] [--dry] [--rows N] [--only NAMES] [--folder F]

Each bench is a program of its own and prints JSON; this one runs them in turn, on an otherwise idle machine if you want figures worth
keeping, and writes what they found between the marks in the page. `--quick` takes a tenth of the time, `--dry` prints and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured by make bench: begin -->", "<!-- measured by make bench: end -->"


def run(script: str, *arguments: str) -> Any:
    print(f"bench/{script} {' '.join(arguments)} ...", flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return done.stdout


def rtp(quick: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "rtp.json"
        seconds, repeat = ("3", "1") if quick else ("10", "2")
        run("bench_rtp.py", "--seconds", seconds, "--repeat", repeat, "--json", str(found))
        rows = json.loads(found.read_text())["rows"]
    lines = [
        "### Packets received and recorded",
        "",
        "CPU microseconds for each packet (PCMU, 20 ms, loopback): received, placed, decoded, written to a file of each stream's own;",
        "beside a bare loop of `recvmmsg` over as many sockets in the same run. *20 ms*: sockets asked every tick, as the bare loop does.",
        "*default*: streams that nobody hears live are asked every 100 ms. `bench/bench_rtp.py`.",
        "",
        "| streams | bare loop | 20 ms | ratio (goal 2) | default | ratio | of a core | kB a leg (goal 100) | packets lost |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        spent = row["us_per_packet"]
        lines.append(
            f"| {row['streams']} | {spent['bare']:.2f} | {spent['engine_20ms']:.2f} | {row['ratio_20ms']} | {spent['engine']:.2f} "
            f"| {row['ratio']} | {row['core_percent']} % | {row['bytes_per_leg'] / 1000:.0f} | {row['lost']['engine']} |"
        )
    return lines


def table(title: str, text: str, rows: list[dict[str, Any]], beside: str = "") -> list[str]:
    head = "| case | measured | unit |" + (f" {beside} |" if beside else "") + " goal |"
    lines = [f"### {title}", "", text, "", head, "| --- | ---: | --- |" + (" ---: |" if beside else "") + " ---: |"]
    for row in rows:
        middle = f" {row['beside']} |" if beside else ""
        goal = "-" if row["goal"] is None else row["goal"]
        lines.append(f"| {row['case']} | {row['value']} | {row['unit']} |{middle} {goal} |")
    return lines


def sip(quick: bool) -> list[str]:
    rows = json.loads(run("bench_calls.py", "--json", "--seconds", "3" if quick else "20"))["rows"]
    alone = json.loads(run("bench_sip.py", "--json", "--calls", "5000" if quick else "20000"))
    row = {"case": "CPU of a call in the endpoint alone", "value": alone["cpu_ms_per_call"], "unit": "ms", "goal": alone["goal_ms"]}
    text = "SIPp calls, tapeline's endpoint and shell answer, in a process of their own. `bench/bench_calls.py`, `bench/bench_sip.py`."
    return table("Signalling", text, [*rows, row])


def finish(quick: bool) -> list[str]:
    rows = json.loads(run("bench_finish.py", "--json", "--seconds", "120" if quick else "900"))["rows"]
    text = "Rendition, measures and checksum together, beside the encoder alone in the same run, one core. `bench/bench_finish.py`."
    return table("Finishing", text, rows, "encoder alone")


def deliveries(quick: bool) -> list[str]:
    calls = 50 if quick else 200
    rows = json.loads(run("bench_deliveries.py", "--json", "--calls", str(calls)))["rows"]
    text = f"{calls} calls, ten a second, through a callflow of a whole server; nginx takes the files. `bench/bench_deliveries.py`."
    return table("Deliveries", text, rows)


def bridge(quick: bool) -> list[str]:
    arguments = ["--seconds", "3", "--repeat", "1"] if quick else ["--seconds", "12"]
    found = json.loads(run("bench_bridge.py", "--json", *arguments))
    text = f"CPU for each recorded second: {found['calls']} calls of two parties at once, or as many parties in conferences of ten. 20 ms,"
    text += " loopback, both ways; a call is recorded into two channels, a conference into one mix. `bench/bench_bridge.py`."
    return table("Calls between people", text, found["rows"])


def coded(quick: bool) -> list[str]:
    found = json.loads(run("bench_codecs.py", "--json", "--seconds", "3" if quick else "10"))
    text = f"CPU for each second of a leg, 20 ms packets; in the engine {found['legs']} legs, recorded and hearing themselves back."
    return table("G.722 and Opus", f"{text} `bench/bench_codecs.py`.", found["rows"])


def sized(quick: bool, options: argparse.Namespace) -> tuple[int, list[str]]:
    """How many recordings the archive has, and what says so, and where it is."""
    size = min(options.rows, 100_000) if quick else options.rows
    return size, ["--rows", str(size), *(["--folder", options.folder] if options.folder else [])]


def archive(quick: bool, options: argparse.Namespace) -> list[str]:
    size, arguments = sized(quick, options)
    arguments += ["--pages", "20", "--rounds", "1"] if quick else []
    found = json.loads(run("bench_archive.py", "--json", *arguments))["rows"]
    text = f"A page of 100 over {size:,} recordings, and as many calls, on SQLite (of 50 for KAZOO and Vonage), 95th percentile of the best"
    text += " of three rounds, half of them at random places; beside it the CPU time. `bench/bench_archive.py`."
    return table("Lists and searches", text, found, "CPU ms")


def sweep(quick: bool, options: argparse.Namespace) -> list[str]:
    size, arguments = sized(quick, options)
    swept = size // 10
    found = json.loads(run("bench_sweep.py", "--json", "--swept", str(swept), *arguments))["rows"]
    text = f"{swept:,} of {size:,} recordings are over; a worker's sweep removes them and their audio, with holds placed, events told and"
    text += " pages asked for while it runs, 95th percentile. In the service it works a tenth of the time. `bench/bench_sweep.py`."
    return table("The retention sweep", text, found, "CPU ms")


def export(quick: bool) -> list[str]:
    arguments = ["--recordings", "10000"] if quick else []
    found = json.loads(run("bench_export.py", "--json", *arguments))["rows"]
    text = "One export of small recordings (4 kB each) by a worker, and the file read again. `bench/bench_export.py`."
    return table("Export", text, found)


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {system}, {time.strftime('%Y-%m-%d')}."


def section(bench: Callable[..., list[str]], options: argparse.Namespace) -> str:
    """A bench's part of the page, and how busy the machine was beside it."""
    before = os.getloadavg()[0]
    lines = bench(options.quick, options) if bench in SIZED else bench(options.quick)
    load = f"Load of the machine before and after: {before:.1f}, {os.getloadavg()[0]:.1f}; {time.strftime('%Y-%m-%d')}."
    return "\n".join([*lines, "", load])


def renewed(measured: str, sections: list[str]) -> str:
    """The page's measured part with `sections` in the places of those with the same titles."""
    for new in sections:
        title = new.partition("\n")[0]
        before, found, after = measured.partition(f"{title}\n")
        rest = after.partition("\n### ")
        measured = before + new + "\n\n" + rest[1].lstrip() + rest[2] if found else f"{measured.rstrip()}\n\n{new}\n\n"
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the archive; a tenth of them is swept")
    parser.add_argument("--folder", help="keep the archive there, and use it again")
    known = ", ".join(BENCHES)
    parser.add_argument("--only", metavar="NAMES", help=f"benches, parted by commas; the others' figures stay: {known}")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"--only: no bench is called {', '.join(unknown)}; there are {known}")
    chosen = [BENCHES[name] for name in names]
    sections = [section(bench, options) for bench in chosen]
    print("\n\n".join(sections))
    if not options.dry:
        page = PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        measured, _, after = rest.partition(END)
        if not options.only:
            measured = f"\n\nMachine: {machine()}\n\n"
        PAGE.write_text(f"{before}{BEGIN}{renewed(measured, sections)}{END}{after}")


BENCHES = {
    "rtp": rtp, "bridge": bridge, "coded": coded, "sip": sip, "finish": finish, "deliveries": deliveries, "archive": archive,
    "sweep": sweep, "export": export,
}  # fmt: skip
SIZED = (archive, sweep)

if __name__ == "__main__":
    main()
