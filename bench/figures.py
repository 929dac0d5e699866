"""What benches have in common at their ends: `--json`, and how figures are printed: for bench/run.py, or for people."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (("case", "<50"), ("value", ">10"), ("unit", "<12"), ("beside", ">10"), ("goal", ">6"))


def parser(text: str | None) -> argparse.ArgumentParser:
    """A command line that is described by the first line of `text`, and has `--json`."""
    made = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    made.add_argument("--json", action="store_true", help="print figures only")
    return made


def report(rows: Sequence[Mapping[str, Any]], as_json: bool, **about: Any) -> None:
    """Print `rows`, each with `case`, `value`, `unit`, and where there is one a `goal` and a figure `beside`; as JSON with `about`."""
    if as_json:
        print(json.dumps({**about, "rows": rows}))
        return
    shown = [(name, width) for name, width in COLUMNS if any(name in row for row in rows)]
    print("  ".join(format(name, width) for name, width in shown))
    for row in rows:
        print("  ".join(format("-" if row.get(name) is None else row[name], width) for name, width in shown))
