"""What all tests share: hypothesis' profiles, the watch over what a test leaves behind, and the watch over the machine.

Every test under tests/system is watched; others ask for it with `@pytest.mark.leakless`. A watched test that leaves a thread, a descriptor
or a task behind fails.

A test of the whole system that fails is repeated once, and the summary tells of it, and whether a processor provably stood still or more
wanted to run than there are processors: a voice that could not be sent in time is nobody's recording. It does not pass for that reason:
the second time counts. It is held with everything made anew, servers shared by a module too.
"""

from __future__ import annotations

import gc
import inspect
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings
from sqlalchemy import URL

from tapeline.core.ids import is_id
from tapeline.store import database
from tapeline.store.database import normal_url
from tapeline.store.migrate import migrate
from tapeline.testing.leaks import Snapshot
from tapeline.testing.stalls import StallWatch

# One failure is one failure: the same examples on every machine and in every run, unless someone goes looking for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

SYSTEM = Path(__file__).parent / "system"
REPEATED = "repeated"
LONGEST_REASON = 3000  # characters of what the first failure said
WATCH = pytest.StashKey[StallWatch]()


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background starts with SIGINT ignored, and so would every child that is to be ended by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # until all is imported and collected
    config.addinivalue_line("markers", "leakless: fails where it leaves threads, descriptors or tasks behind (always on in tests/system)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        watched = SYSTEM in item.path.parents or item.get_closest_marker("leakless") is not None
        if watched and isinstance(item, pytest.Function):
            # First in the row: set up before all other fixtures, and so judging after they are gone.
            item.fixturenames.insert(0, "nothing_left_behind")
            if inspect.iscoroutinefunction(item.obj):
                item.fixturenames.append("no_task_left_behind")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: the collector does not look through all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """Threads and descriptors."""
    before = Snapshot.take()
    yield
    left = before.left_behind()
    assert not left, "the test left behind: " + "; ".join(left)


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    """Tasks on the test's own loop."""
    before = Snapshot.take()
    yield
    left = [what for what in before.left_behind(grace_s=0.0) if what.startswith("task ")]
    assert not left, "the test left behind: " + "; ".join(left)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Every process that runs a part of the tests must name them alike: no id that was made up, no set in its chance order."""
    if isinstance(val, set | frozenset):
        return "-".join(sorted(map(str, val)))
    return argname if isinstance(val, str) and is_id(val) else None


@pytest.fixture(scope="session", autouse=True)
def migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new database of a test begins as a copy of one that was migrated once: all migrations take a tenth of a second."""
    template = tmp_path_factory.mktemp("migrated") / "rows.sqlite"
    migrate(normal_url(f"sqlite:///{template}"))

    def begin(url: URL) -> None:
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists() and Path(url.database).parent.exists():
            shutil.copy(template, url.database)
        migrate(url)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "migrate", begin)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test of the whole system, and once more where it failed."""
    if SYSTEM not in item.path.parents:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    watch = _watch(item.config)
    began = time.monotonic()
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if failed := [report for report in reports if report.failed]:
        why = watch.worst_since(began) or _crowd() or "for no reason that the machine gives"
        item.user_properties.append((REPEATED, f"{why}\n{_told(failed[0])}"))
        # What the test did to what it shares with others must not decide about the second time.
        torn = pytest.CallInfo.from_call(lambda: item.session._setupstate.teardown_exact(None), "teardown")
        if torn.excinfo is not None:
            item.user_properties.append((REPEATED, f"what it shares did not end well: {torn.excinfo.exconly()}"))
        # What the first left unclosed is its own, not the second's. pytest keeps the failure, and so its frames, for debuggers.
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            sys.__dict__.pop(name, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _told(report: pytest.TestReport) -> str:
    """What was asserted, and the end of all that was said of it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    asserted = f"{crash.path}:{crash.lineno}: {crash.message[:LONGEST_REASON]}\n...\n" if crash else ""
    return asserted + report.longreprtext[-LONGEST_REASON:]


def _crowd() -> str | None:
    """How many want to run, where they are more than there are processors for."""
    waiting, processors = os.getloadavg()[0], os.cpu_count() or 1
    return f"{waiting:.1f} wanted to run on {processors} processors" if waiting > processors else None


def _watch(config: pytest.Config) -> StallWatch:
    """The run's watch over the machine, started when first needed."""
    if WATCH not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="tapeline-stalls-")
        config.add_cleanup(folder.cleanup)
        watch = StallWatch(Path(folder.name))
        config.add_cleanup(lambda: watch.__exit__(None, None, None))
        config.stash[WATCH] = watch.__enter__()
    return config.stash[WATCH]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == REPEATED and report.when == "call":
                    terminalreporter.write_line(f"REPEATED {report.nodeid}: {value}", yellow=True)
