"""What the standard library logs comes out as lines of the log, with all that was said of it."""

import logging
import subprocess
import sys

import pytest

from tapeline.core.loglines import LogLines


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("some.name").makeRecord(
        "some.name", logging.WARNING, "file.py", 7, message, args, None, extra=dict(extra) if extra else None
    )


def test_a_line_tells_what_it_is_about() -> None:
    line = LogLines("worker").format(record("finishing will be tried again: %s", "no space", recording="7c1f", stage=2, key=None))
    timestamp, rest = line.split(" ", 1)
    assert timestamp.startswith("timestamp=20") and timestamp.endswith("Z")
    assert rest == 'level=warning event="finishing will be tried again: no space" part=worker recording=7c1f stage=2 key='


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\nlevel=info event=forged", '"a\\nlevel=info event=forged"'),
        ("c:\\x", "c:\\x"),
        ("c:\\x y", '"c:\\\\x y"'),
        (True, "True"),
    ],
)
def test_values_stay_on_their_line_and_in_their_place(value: object, written: str) -> None:
    assert LogLines().format(record("m", what=value)).endswith(f" event=m what={written}")


def test_an_exception_comes_on_the_same_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "it broke", (), sys.exc_info())
    line = LogLines().format(made)
    assert "\n" not in line
    assert 'exception="Traceback' in line and "ValueError: broken" in line


def test_a_process_that_logs_so() -> None:
    program = (
        "import logging; from tapeline.core.loglines import log_to_stderr; log_to_stderr(logging.INFO, 'worker');"
        "logging.getLogger('a').info('made', extra={'recording': 'r1'}); logging.getLogger('a').debug('not told')"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True).stderr
    assert told.count("\n") == 1
    assert told.endswith("level=info event=made part=worker recording=r1\n")
