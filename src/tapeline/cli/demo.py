"""`tapeline demo`: one real recorded call on this machine, shown as it happens, and proved by listening to the recording.

Starts the server as anybody would (a process of its own, embedded defaults, free ports, a new data folder), lets one softphone call
another through it over real SIP and RTP, follows call and recording through the API, and at the end decodes the stored file: what
the caller said must be in its left channel, what the other one said in its right one.

    Anna -> SIP, RTP -> server: flow answers, speaks, records both sides, calls Ben -> spool -> worker -> object store -> decoded here
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tapeline.cli import terminal
from tapeline.core.errors import TapelineError, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tapeline.calls.phone import Phone
    from tapeline.cli.listening import Heard
    from tapeline.store import RecordingRow

__all__ = ["demo"]

START_S = 60.0  # a first start on a slow machine makes a database and starts a worker
ASK_S = 30.0  # how long each part of the conversation may take
FINISH_S = 60.0
RING_S, PAUSE_S = 1.5, 0.6
SHOWN = ("ringing", "talking", "ended")
ALIKE = 0.85  # the same sentence after codec, mixing and network; another sentence stays below 0.7

ANNA_SAYS = "Hello Ben, this is Anna, a telephone made of software. I am in the left channel."
BEN_SAYS = "Good morning Anna, I hear you well. What I say is found in the right channel."


def flow_to(callee: str) -> dict[str, Any]:
    """Announce, record both sides, connect with `callee`, and say goodbye once that one has hung up."""
    return {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start", "option": {"format": "wav", "split": True}},
            {"type": "talk", "option": {"text": "This call is recorded. One moment, I am calling Ben."}},
            {"type": "connect", "option": {"destinations": [{"type": "sip", "target": callee}]}},
            {"type": "recording_stop"},
            {"type": "talk", "option": {"text": "Ben has hung up. Goodbye."}},
            {"type": "hangup"},
        ]
    }


Found = TypeVar("Found")


class DemoServer:
    """The server process: `await start()`, `await stop()`; its log is in its folder. Settings in the environment are kept from it:
    they may name a database or a store that is no place for a demonstration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "tapeline.toml"
        self.log = folder / "server.log"
        self.target = ""  # what to dial
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.http = f"127.0.0.1:{probe.getsockname()[1]}"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, flow: dict[str, Any]) -> None:
        """Start it with `flow` at the number 1000. Raises Unavailable, with the server's own words, where it does not come up."""
        settings = f'[server]\ndata = "{self.data}"\nhttp = "{self.http}"\nsip = ["udp:127.0.0.1:0"]\n\n'
        self.config.write_text(settings + '[[numbers]]\nmatch = "1000"\nflow = "flow.json"\n')
        (self.folder / "flow.json").write_text(json.dumps(flow, indent=2) + "\n")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tapeline", "serve", "--config", str(self.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours: we stop it in our own time
                env={name: value for name, value in os.environ.items() if not (name.startswith("TAPELINE_") and "__" in name)},
            )
        ready = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read(ready))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({waiting, self._reading}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not ready.is_set():
            raise Unavailable(f"the server did not start: {self.last_words()}", hint=f"its log is {self.log}")

    async def _read(self, ready: asyncio.Event) -> None:
        """Take in what the server prints until it ends; a copy goes to its log, without its secret."""
        assert self._process is not None and self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            word, _, rest = line.partition(" ")
            if word == "dial" and not self.target:
                self.target = rest.strip()
            elif word == "ready":
                ready.set()

    @property
    def token(self) -> str:
        return (self.data / "admin-token").read_text().strip()

    def last_words(self) -> str:
        """What it said of its end: the line of its error where there is one."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.partition(" ")[2] for line in lines if line.startswith(("error: ", "tapeline: "))]
        return (errors or lines or ["it printed nothing"])[-1]

    async def wait(self) -> None:
        assert self._process is not None
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, then kill where that takes too long. Does nothing where it never ran."""
        process = self._process
        if process is None:
            return
        if self._reading is not None and self._reading.done():
            await process.wait()  # it ended by itself
        elif process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 45)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reading is not None:
            await self._reading

    def get(self, path: str) -> Any:
        """GET of the API as the administrator. Blocking. Raises Unavailable."""
        request = urllib.request.Request(f"http://{self.http}{path}", headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise Unavailable(f"the API did not answer: {error}", hint=f"the server's log is {self.log}") from error


@dataclass(slots=True)
class Watch:
    """The latest of what the API says, asked four times a second."""

    server: DemoServer
    tell: Callable[[str, str], None]
    call: dict[str, Any]
    recording: dict[str, Any]

    async def run(self) -> None:
        while True:
            calls = (await asyncio.to_thread(self.server.get, "/v1.0/calls"))["result"]
            calls = [call for call in calls if call["direction"] == "incoming"]
            if calls:
                self.call = calls[0]
                self.tell("flow", "done" if self.call["status"] == "hangup" else self.call["action"].get("type", ""))
            recordings = (await asyncio.to_thread(self.server.get, "/v1.0/recordings"))["result"]
            if recordings:
                self.recording = recordings[0]
                self.tell("recording", self.recording["status"])
            await asyncio.sleep(0.25)


async def _until(found: Callable[[], Found | None], what: str, timeout_s: float, watched: asyncio.Future[None]) -> Found:
    """Ask until `found` gives something true. Raises Unavailable after `timeout_s`, and whatever ends `watched`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (answer := found()):
        if watched.done():
            watched.result()
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"after {timeout_s:.0f} s still waiting for {what}")
        await asyncio.sleep(0.05)
    return answer


def _voice(folder: Path, text: str, language: str, rate: int) -> NDArray[np.int16]:
    """What somebody says: speech, or, where it is not installed, tones in a rhythm that only this text has."""
    from tapeline.audio.speech import Speech
    from tapeline.testing import Plan, quiet, tone

    speech = Speech(folder / "speech")
    if speech.available:
        return speech.say(text, language=language, rate=rate)
    rhythm = [0.1 + (ord(letter) % 6) / 10 for letter in text[:16]]
    return Plan.of([part for place, length in enumerate(rhythm) for part in (tone(417.0 + 100 * place, length), quiet(0.12))]).voice(
        rate=rate
    )


@dataclass(frozen=True, slots=True)
class Talk:
    """What both said, each at the rate of its phone, to be compared with the recording."""

    anna: tuple[NDArray[np.int16], int]
    ben: tuple[NDArray[np.int16], int]


async def _converse(server: DemoServer, phones: Phones, tell: Callable[[str, str], None], follow: Callable[[Path, int], None]) -> Talk:
    """The conversation, from the first ring to the last goodbye."""
    from tapeline.calls.phone import resolve

    called = asyncio.ensure_future(phones.ben.take())
    try:
        async with asyncio.timeout(ASK_S):
            target = await resolve(server.target)
            anna = phones.anna.call(target, watch=lambda seen: tell("anna", seen.what) if seen.what in SHOWN else None)
            tell("anna", "calling")
            await anna.answered()
            heard = server.folder / "heard-by-anna.wav"
            anna.save(heard, both=True)
            follow(heard, anna.rate)
            ben = await called
            tell("ben", "ringing")
            ben.watch(lambda seen: tell("ben", seen.what) if seen.what in SHOWN else None)
            await asyncio.sleep(RING_S)
            ben.answer()
            await ben.answered()
            await asyncio.sleep(PAUSE_S)
        said = await asyncio.to_thread(_voice, server.folder, ANNA_SAYS, "en-GB", anna.rate)
        answer = await asyncio.to_thread(_voice, server.folder, BEN_SAYS, "en-US", ben.rate)
        async with asyncio.timeout(ASK_S + (len(said) + len(answer)) / anna.rate):
            await anna.play(said)
            await asyncio.sleep(PAUSE_S)
            await ben.play(answer)
            await asyncio.sleep(PAUSE_S)
            ben.hang_up()
            await anna.over()
        return Talk((said, anna.rate), (answer, ben.rate))
    except TimeoutError:
        raise Unavailable(f"the call did not go on within {ASK_S:.0f} s") from None
    finally:
        called.cancel()


def _prove(row: RecordingRow, file: Path, talk: Talk) -> tuple[Heard, list[tuple[str, float]]]:
    """Decode the stored file and find both voices in it. Raises Unavailable where anything is not as it was."""
    import soundfile

    from tapeline.audio.resample import resample
    from tapeline.cli import listening, proof

    heard = listening.decode(file, row)
    if heard.problems:
        raise Unavailable("the recording is not as it should be: " + "; ".join(heard.problems))
    stored, rate = soundfile.read(str(file), dtype="int16", always_2d=True)
    voices = [
        (name, proof.likeness(resample(said, spoken, rate), stored[:, channel].copy(), rate)[0])
        for channel, (name, (said, spoken)) in enumerate((("Anna, left", talk.anna), ("tapeline and Ben, right", talk.ben)))
    ]
    for name, score in voices:
        if score < ALIKE:
            raise Unavailable(f"the recording does not hold what was said ({name}: likeness {score:.2f}, at least {ALIKE} wanted)")
    return heard, voices


async def _stored(server: DemoServer, recording_id: str) -> tuple[RecordingRow, Path]:
    """The recording's row and the file of its audio."""
    from tapeline.store import Database

    rows = Database(f"sqlite:///{server.data / 'tapeline.sqlite'}")
    await rows.open()
    try:
        row = await rows.recordings.get(recording_id)
    finally:
        await rows.close()
    if row is None or not row.object_key:
        raise Unavailable(f"recording {recording_id} has no stored file")
    return row, server.data / "objects" / row.object_key


@dataclass(frozen=True, slots=True)
class Phones:
    anna: Phone
    ben: Phone


async def _show(server: DemoServer, phones: Phones) -> None:
    """The call, from the first ring to the recording that is available; raises what went wrong."""
    from tapeline.cli.stage import Ears, Stage

    loop = asyncio.get_running_loop()
    with Stage(("tapeline", "Anna"), began=loop.time()) as stage:
        ears: list[tuple[Ears, float]] = []

        def tell(what: str, state: str) -> None:
            stage.tell(what, state, loop.time())
            if what == "ben" and state in ("talking", "ended"):
                stage.rename(0, "Ben" if state == "talking" else "tapeline", loop.time())

        def redraw(*, to_end: bool = False) -> None:
            for ear, since in ears:
                stage.follow(ear, since, loop.time(), to_end=to_end)
            stage.redraw(loop.time())

        async def draw() -> None:
            while True:
                redraw()
                await asyncio.sleep(0.1)

        watch = Watch(server, tell, {}, {})
        watched = asyncio.ensure_future(watch.run())
        drawn = asyncio.ensure_future(draw())
        try:
            talk = await _converse(server, phones, tell, lambda path, rate: ears.append((Ears(path, rate, 2), loop.time())))
            recording = await _until(lambda: _done(watch), "the recording to be available", FINISH_S, watched)
            redraw(to_end=True)
        finally:
            for task in (watched, drawn):
                task.cancel()
            await asyncio.gather(watched, drawn, return_exceptions=True)
    row, file = await _stored(server, recording["id"])
    heard, voices = await asyncio.to_thread(_prove, row, file, talk)
    _conclude(file, heard, voices)


def _done(watch: Watch) -> dict[str, Any] | None:
    if watch.recording.get("status") == "failed":
        raise Unavailable(f"the recording failed: {watch.recording['tapeline']['reason'] or 'no reason given'}")
    return watch.recording if watch.recording.get("status") == "available" else None


def _conclude(file: Path, heard: Heard, voices: list[tuple[str, float]]) -> None:
    from tapeline.cli.recordings import draw

    draw(heard.peaks, heard.duration, tuple(name for name, _ in voices))
    terminal.emit()
    likenesses = ", ".join(f"{name} {score:.2f}" for name, score in voices)
    terminal.emit(f"recording  {file}")
    terminal.emit(f"duration   {heard.duration:.3f} s, {heard.channels} channels, {heard.rate} Hz")
    terminal.emit(f"verified   decoded to its end, and both voices are in it (likeness: {likenesses})")


async def _run(keep: bool) -> None:
    from tapeline.calls.phone import Phone, PhoneConfig

    folder = Path(tempfile.mkdtemp(prefix="tapeline-demo-"))
    server = DemoServer(folder)
    phones = Phones(Phone(PhoneConfig(user="anna", name="Anna")), Phone(PhoneConfig(user="ben", name="Ben", rtp_ports=(40000, 49999))))
    try:
        terminal.emit("starting a server of its own ...")
        await phones.anna.start()
        await phones.ben.start()
        await server.start(flow_to(phones.ben.uri))
        terminal.emit(f"it is up: {server.target}, data in {folder}")
        await _show(server, phones)
        if keep:
            terminal.emit()
            terminal.emit("the server goes on until Ctrl-C:")
            terminal.emit(f"  dial   {server.target}")
            terminal.emit(f"  page   http://{server.http}/docs")
            terminal.emit(f"  token  {server.token}")
            with suppress(asyncio.CancelledError):  # Ctrl-C is the way to end it
                await server.wait()
    except TapelineError as error:
        if not error.hint:
            error.hint = f"the server's log is {server.log}"
        raise
    finally:
        await server.stop()
        await phones.anna.stop()
        await phones.ben.stop()


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server and its page running until Ctrl-C.")] = False,
) -> None:
    """Two telephones talk through a server on this machine, are recorded, and the recording is listened to. Exit 1 if anything failed."""
    asyncio.run(_run(keep))
