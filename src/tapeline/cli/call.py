"""`tapeline call`: a softphone on the command line. Places a call, speaks or plays, presses keys, saves what is heard."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from tapeline.cli import terminal
from tapeline.core.errors import InvalidInput

if TYPE_CHECKING:
    from tapeline.calls.phone import Happening, PhoneCall

__all__ = ["Errand", "call", "perform"]

_PAUSE_S = 1.0  # a comma among the keys
_QUIET_S = 1.0  # how long the peer must have said nothing before we say something
_LISTEN_S = 30.0  # how long we let it talk


@dataclass(frozen=True, slots=True)
class Errand:
    """What one call is for."""

    target: str
    caller: str = ""
    text: str = ""
    file: Path | None = None
    save: Path | None = None
    keys: str = ""
    seconds: float = 0.0
    user: str = ""
    password: str = field(default="", repr=False)
    authority: str = ""

    def check(self) -> None:
        """Raises InvalidInput for what can be told before anything rings."""
        if self.text and self.file is not None:
            raise InvalidInput("--say and --play are both given", hint="give one of them")
        if self.file is not None and not self.file.is_file():
            raise InvalidInput(f"there is no file {self.file}", hint="give --play an audio file")
        if self.save is not None and not self.save.absolute().parent.is_dir():
            raise InvalidInput(f"there is no folder {self.save.absolute().parent}", hint="give --save a place that can be written")
        if self.password and not self.user:
            raise InvalidInput("--password is given without --user", hint="give both")
        wrong = sorted(set(self.keys.upper()) - set("0123456789*#ABCD,"))
        if wrong:
            raise InvalidInput(f"a telephone has no key {' '.join(wrong)}", hint="--dtmf takes 0-9 * # A-D, and a comma for a pause")

    @property
    def listens_only(self) -> bool:
        return not (self.text or self.file or self.keys)


def _samples(errand: Errand, rate: int) -> Any:
    """What is said: int16[n] at `rate`, or None."""
    if errand.text:
        from tapeline.audio.speech import Speech

        with tempfile.TemporaryDirectory(prefix="tapeline-speech-") as cache:
            speech = Speech(Path(cache))
            if not speech.available:
                terminal.notice("speech is not installed, so a tone is heard: pip install 'tapeline[speech]'")
            return speech.say(errand.text, rate=rate)
    if errand.file is not None:
        from tapeline.audio import files

        return files.load(errand.file, rate)
    return None


async def _speak(errand: Errand, call: PhoneCall) -> None:
    samples = await asyncio.to_thread(_samples, errand, call.rate)
    if samples is not None:
        if errand.text:
            terminal.notice("waiting until the peer is quiet")
            await call.quiet(_QUIET_S, _LISTEN_S)
        terminal.notice(f"speaking for {terminal.clock(len(samples) / call.rate)}")
        await call.play(samples)
    for place, keys in enumerate(errand.keys.split(",")):
        if place:
            await asyncio.sleep(_PAUSE_S)
        if keys and call.state == "talking":
            terminal.notice(f"pressing {keys}")
            await call.press(keys)


def _teller() -> Callable[[Happening], None]:
    def tell(happening: Happening) -> None:
        if happening.what == "key":
            terminal.notice(f"the peer pressed {happening.text}")
        elif happening.what in ("ringing", "ended"):
            terminal.notice(happening.what + (f": {happening.text}" if happening.what == "ended" else ""))

    return tell


async def perform(errand: Errand) -> float:
    """Make the call; its length in seconds from answer to end. Raises Unavailable where nobody answers."""
    from tapeline import sip
    from tapeline.calls.phone import Phone, PhoneConfig, resolve, route_to
    from tapeline.sip.uri import host_port

    errand.check()
    target = await resolve(errand.target)
    config = PhoneConfig(host=route_to(target.address), transport=target.transport, authority=errand.authority)
    phone = Phone(replace(config, user=quote(errand.user, safe="-_.!~*'()&=+$,")) if errand.user else config)
    caller = errand.caller or (f"sip:{phone.config.user}@{host_port(target.host)}" if errand.user else "")
    login = sip.Credentials(errand.user, errand.password) if errand.user else None
    await phone.start()
    try:
        terminal.notice(f"calling {target.uri}")
        call = phone.call(target, from_uri=caller, credentials=login, watch=_teller())
        await call.answered()
        began = phone.clock.now()
        terminal.notice(f"answered: {call.agreed.codec if call.agreed else ''} at {call.rate} Hz")
        if errand.save is not None:
            call.save(errand.save)
        over = asyncio.ensure_future(call.over())
        speaking = asyncio.ensure_future(_speak(errand, call))
        try:
            if errand.seconds:
                await asyncio.wait({over}, timeout=errand.seconds)
            elif errand.listens_only:
                await asyncio.wait({over})
            else:
                await asyncio.wait({over, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                speaking.result()  # raises what went wrong
        finally:
            speaking.cancel()
            call.hang_up()
        length = phone.clock.now() - began
        await over
        return length
    finally:
        await phone.stop()


def call(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Whom to call: sip:1000@127.0.0.1:5060, or 1000@127.0.0.1.")],
    caller: Annotated[str, typer.Option("--from", metavar="URI", help="Who calls, as the peer sees it.")] = "",
    say: Annotated[str, typer.Option("--say", metavar="TEXT", help="Say this once the peer has answered and is quiet.")] = "",
    play: Annotated[Path | None, typer.Option("--play", metavar="FILE", help="Play this audio file instead, at once.")] = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write what is heard to this WAV file.")] = None,
    dtmf: Annotated[str, typer.Option("--dtmf", metavar="DIGITS", help="Press these keys afterwards; a comma waits a second.")] = "",
    seconds: Annotated[float, typer.Option("--seconds", metavar="N", min=0, help="Hang up N seconds after the answer.")] = 0.0,
    user: Annotated[str, typer.Option("--user", metavar="U", help="Log in as U where the peer asks, and call as U.")] = "",
    password: Annotated[
        str, typer.Option("--password", metavar="P", envvar="TAPELINE_CALL_PASSWORD", help="The password for it.", show_envvar=True)
    ] = "",
    tls_ca: Annotated[str, typer.Option("--tls-ca", metavar="FILE", help="Believe these certificates over TLS, not the system's.")] = "",
) -> None:
    """Call TARGET. Hangs up when all is said, or after --seconds; with nothing to say it listens until the peer hangs up."""
    errand = Errand(target, caller, say, play, save, dtmf, seconds, user, password, tls_ca)
    if caller and not caller.lower().startswith(("sip:", "sips:")):
        raise InvalidInput(f"--from {caller!r} is no SIP address", hint="write it as sip:name@host")
    length = asyncio.run(perform(errand))
    terminal.emit(f"talked for {terminal.clock(length)}")
    if save is not None:
        from tapeline.audio import wav

        found = wav.info(save)
        terminal.emit(f"saved {save}: {terminal.clock(found.frames / found.rate)}")
