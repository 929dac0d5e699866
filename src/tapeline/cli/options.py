"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tapeline.core import settings as core_settings
from tapeline.core.settings import Settings

__all__ = ["AsJson", "Config", "Data", "settings_of"]

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file. Default: ./tapeline.toml, if any.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data folder, in place of the setting server.data.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")]


def settings_of(config: Path | None, data: Path | None = None) -> Settings:
    """The settings that `--config` and `--data` stand for. Raises InvalidInput."""
    overrides: dict[str, Any] = {"server": {"data": data}} if data is not None else {}
    return core_settings.load(config, overrides)
