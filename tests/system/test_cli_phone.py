"""The shipped softphone: two of them on loopback, judged by what each hears of the other."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from tapeline.audio import wav
from tapeline.calls.phone import Happening, Phone, PhoneCall, PhoneConfig, resolve
from tapeline.cli.call import Errand, perform
from tapeline.core.errors import Unavailable
from tapeline.testing import Plan, Tolerance, assert_heard, quiet, spoken

PATIENCE_S = 10.0
HEARD = Tolerance(duration_s=10.0, start_s=1.0)  # when exactly it was said is the network's; that it was said whole is the phone's


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Phone, Phone]]:
    alice = Phone(PhoneConfig(user="alice", rtp_ports=(30000, 30099)))
    bob = Phone(PhoneConfig(user="bob", rtp_ports=(30100, 30199)))
    await alice.start()
    await bob.start()
    yield alice, bob
    await alice.stop()
    await bob.stop()


async def connect(alice: Phone, bob: Phone) -> tuple[PhoneCall, PhoneCall]:
    async with asyncio.timeout(PATIENCE_S):
        outgoing = alice.call(await resolve(bob.uri))
        incoming = await bob.take()
        incoming.answer()
        await outgoing.answered()
        await incoming.answered()
    return outgoing, incoming


async def test_both_hear_what_the_other_says(pair: tuple[Phone, Phone], tmp_path: Path) -> None:
    outgoing, incoming = await connect(*pair)
    plans = [Plan.of((quiet(0.5), *spoken(seed, 3))) for seed in (1, 2)]
    files = [tmp_path / "alice.wav", tmp_path / "bob.wav"]
    outgoing.save(files[0])
    incoming.save(files[1])
    async with asyncio.timeout(PATIENCE_S):
        said = await asyncio.gather(outgoing.play(plans[0].voice(rate=outgoing.rate)), incoming.play(plans[1].voice(rate=incoming.rate)))
        await asyncio.sleep(0.3)  # what was said last is still on its way
        outgoing.hang_up()
        ends = [await outgoing.over(), await incoming.over()]
    assert said == [True, True]
    assert [(end.by, end.cause) for end in ends] == [("local", "normal"), ("remote", "normal")]
    assert_heard(files[1], plans[0].between(0.4, 3.4), HEARD, name="what bob heard")
    assert_heard(files[0], plans[1].between(0.4, 3.4), HEARD, name="what alice heard")


async def test_keys_arrive_in_order_both_ways(pair: tuple[Phone, Phone]) -> None:
    outgoing, incoming = await connect(*pair)
    seen: list[str] = []
    incoming.watch(lambda happening: seen.append(happening.text) if happening.what == "key" else None)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(outgoing.press("147*#"), incoming.press("99d"))
        await asyncio.sleep(0.2)
    assert incoming.keys == "147*#" == "".join(seen)
    assert outgoing.keys == "99D"


async def test_hanging_up_while_the_peer_speaks_ends_both(pair: tuple[Phone, Phone]) -> None:
    outgoing, incoming = await connect(*pair)
    async with asyncio.timeout(PATIENCE_S):
        speaking = asyncio.ensure_future(incoming.play(Plan.of(spoken(3, 60)).voice(rate=incoming.rate)))
        await asyncio.sleep(0.2)
        outgoing.hang_up()
        assert await speaking is False
        assert (await incoming.over()).by == "remote"


async def test_a_call_that_is_given_up_while_it_rings(pair: tuple[Phone, Phone]) -> None:
    alice, bob = pair
    seen: list[Happening] = []
    rings = asyncio.Event()

    def watch(happening: Happening) -> None:
        seen.append(happening)
        rings.set()

    async with asyncio.timeout(PATIENCE_S):
        outgoing = alice.call(await resolve(bob.uri), watch=watch)
        incoming = await bob.take()
        await rings.wait()
        outgoing.hang_up()
        with pytest.raises(Unavailable):
            await outgoing.answered()
        assert (await incoming.over()).cause == "cancel"
    assert [happening.what for happening in seen] == ["ringing", "ended"]


async def test_a_refused_call_says_why(pair: tuple[Phone, Phone]) -> None:
    alice, bob = pair
    async with asyncio.timeout(PATIENCE_S):
        outgoing = alice.call(await resolve(bob.uri))
        (await bob.take()).session.reject(486, bob.clock.now())
        bob.pump()
        with pytest.raises(Unavailable, match="486"):
            await outgoing.answered()


@pytest.mark.parametrize("status", [401, 407])
async def test_a_challenge_without_a_password_says_what_to_give(pair: tuple[Phone, Phone], status: int) -> None:
    alice, bob = pair
    async with asyncio.timeout(PATIENCE_S):
        outgoing = alice.call(await resolve(bob.uri))
        (await bob.take()).session.reject(status, bob.clock.now(), headers=[("WWW-Authenticate", 'Digest realm="x", nonce="y"')])
        bob.pump()
        with pytest.raises(Unavailable, match="password") as caught:
            await outgoing.answered()
    assert "--user" in caught.value.hint


async def test_a_call_without_media_in_common_is_refused_and_nobody_is_rung() -> None:
    narrow = Phone(PhoneConfig(user="narrow", codecs=("L16/8000",), rtp_ports=(30200, 30299)))
    await narrow.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            pcmu = Phone(PhoneConfig(user="pcmu", codecs=("PCMU",), rtp_ports=(30300, 30399)))
            await pcmu.start()
            try:
                with pytest.raises(Unavailable, match="488"):
                    await pcmu.call(await resolve(narrow.uri)).answered()
                waiting = asyncio.ensure_future(narrow.take())
                await asyncio.sleep(0.1)
                assert not waiting.done()
                waiting.cancel()
            finally:
                await pcmu.stop()
    finally:
        await narrow.stop()


async def test_an_answer_without_media_ends_the_call(pair: tuple[Phone, Phone]) -> None:
    alice, bob = pair
    async with asyncio.timeout(PATIENCE_S):
        outgoing = alice.call(await resolve(bob.uri))
        incoming = await bob.take()
        incoming.session.accept(b"", bob.clock.now())
        bob.pump()
        with pytest.raises(Unavailable):
            await outgoing.answered()
        await incoming.over()


async def test_early_media_are_no_answer(pair: tuple[Phone, Phone]) -> None:
    alice, bob = pair
    async with asyncio.timeout(PATIENCE_S):
        outgoing = alice.call(await resolve(bob.uri))
        incoming = await bob.take()
        assert incoming.agreed is not None
        incoming.session.ring(bob.clock.now(), 183, incoming.agreed.sdp)
        incoming.session.reject(486, bob.clock.now())
        bob.pump()
        with pytest.raises(Unavailable, match="486"):
            await outgoing.answered()
        assert outgoing.agreed is not None


async def test_over_ipv6() -> None:
    alice = Phone(PhoneConfig(host="::1", user="alice", rtp_ports=(30000, 30099)))
    bob = Phone(PhoneConfig(host="::1", user="bob", rtp_ports=(30100, 30199)))
    try:
        await alice.start()
        await bob.start()
    except Unavailable as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    try:
        outgoing, incoming = await connect(alice, bob)
        async with asyncio.timeout(PATIENCE_S):
            await outgoing.press("5")
            await asyncio.sleep(0.2)
        assert incoming.keys == "5"
    finally:
        await alice.stop()
        await bob.stop()


async def test_over_tcp(tmp_path: Path) -> None:
    alice = Phone(PhoneConfig(user="alice", transport="tcp", rtp_ports=(30000, 30099)))
    bob = Phone(PhoneConfig(user="bob", transport="tcp", rtp_ports=(30100, 30199)))
    await alice.start()
    await bob.start()
    try:
        outgoing, incoming = await connect(alice, bob)
        incoming.save(tmp_path / "heard.wav")
        plan = Plan.of((quiet(0.5), *spoken(5, 1)))
        async with asyncio.timeout(PATIENCE_S):
            await outgoing.play(plan.voice(rate=outgoing.rate))
            await asyncio.sleep(0.3)
            incoming.hang_up()
            assert (await outgoing.over()).by == "remote"
            await incoming.over()
        assert_heard(tmp_path / "heard.wav", plan.between(0.4, 1.4), HEARD)
    finally:
        await alice.stop()
        await bob.stop()


async def test_the_command_plays_presses_saves_and_hangs_up(tmp_path: Path) -> None:
    said, answered = Plan.of((quiet(0.5), *spoken(11, 2))), Plan.of((quiet(1.0), *spoken(12, 1)))
    said.write_wav(tmp_path / "said.wav")
    bob = Phone(PhoneConfig(user="bob", rtp_ports=(30100, 30199)))
    await bob.start()
    try:
        errand = Errand(bob.uri, caller="sip:shop@example.com", file=tmp_path / "said.wav", save=tmp_path / "saved.wav", keys="1,2#")
        async with asyncio.timeout(20):
            calling = asyncio.ensure_future(perform(errand))
            incoming = await bob.take()
            incoming.save(tmp_path / "bob.wav")
            incoming.answer()
            await incoming.answered()
            await incoming.play(answered.voice(rate=incoming.rate))
            length = await calling
            await incoming.over()
    finally:
        await bob.stop()
    assert incoming.session.remote_uri.startswith("sip:shop@example.com")
    assert incoming.keys == "12#"
    assert 3.5 < length < 6.0
    assert_heard(tmp_path / "bob.wav", said.between(0.4, 2.4), HEARD, name="what the callee heard")
    assert_heard(tmp_path / "saved.wav", answered.between(0.9, 1.9), HEARD, name="what the command saved")


async def test_the_command_hangs_up_after_its_seconds() -> None:
    bob = Phone(PhoneConfig(user="bob", rtp_ports=(30100, 30199)))
    await bob.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            calling = asyncio.ensure_future(perform(Errand(bob.uri, seconds=0.5)))
            incoming = await bob.take()
            incoming.answer()
            assert 0.5 <= await calling < 2.0
            assert (await incoming.over()).by == "remote"
    finally:
        await bob.stop()


async def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(Unavailable, match="no address is known for the host 'no-such-host.invalid'"):
        await resolve("1000@no-such-host.invalid")


async def test_ctrl_c_hangs_up_and_keeps_what_was_heard(tmp_path: Path) -> None:
    bob = Phone(PhoneConfig(user="bob", rtp_ports=(30100, 30199)))
    await bob.start()
    saved = tmp_path / "saved.wav"
    plan = Plan.of((quiet(0.5), *spoken(9, 1)))
    try:
        async with asyncio.timeout(30):
            command = await asyncio.create_subprocess_exec(*(sys.executable, "-m", "tapeline", "call", bob.uri, "--save", str(saved)))
            incoming = await bob.take()
            incoming.answer()
            await incoming.answered()
            while not saved.exists():
                await asyncio.sleep(0.02)
            await incoming.play(plan.voice(rate=incoming.rate))
            await asyncio.sleep(0.3)
            command.send_signal(signal.SIGINT)
            ended = await incoming.over()
            status = await command.wait()
    finally:
        await bob.stop()
    assert (ended.by, ended.cause) == ("remote", "normal")
    assert status == 130
    assert_heard(saved, plan.between(0.4, 1.4), HEARD)


async def test_the_command_lets_the_peer_finish_before_it_speaks(tmp_path: Path) -> None:
    announced = Plan.of((quiet(0.3), *spoken(21, 3)))
    bob = Phone(PhoneConfig(user="bob", rtp_ports=(30100, 30199)))
    await bob.start()
    try:
        async with asyncio.timeout(30):
            calling = asyncio.ensure_future(perform(Errand(bob.uri, text="hello", save=tmp_path / "saved.wav", keys="#")))
            incoming = await bob.take()
            incoming.answer()
            await incoming.answered()
            incoming.save(tmp_path / "bob.wav")
            await incoming.play(announced.voice(rate=incoming.rate))
            await calling
            await incoming.over()
    finally:
        await bob.stop()
    heard, rate = wav.read(tmp_path / "bob.wav")
    loud = np.flatnonzero(np.abs(heard[:, 0]) > 1000)
    assert len(loud) and loud[0] / rate > announced.seconds, "it began while the peer still talked"
    assert incoming.keys == "#"
