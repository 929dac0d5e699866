"""Speech: what is said has sound in it and a fitting length, is kept, survives its process, and is a tone where there is no voice."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tapeline.audio import speech, tones, wav
from tapeline.audio.speech import Speech, voices

SENTENCE = "This call is recorded. Please hold the line."
spoken_here = pytest.mark.skipif(speech.espeakng_loader is None, reason="the extra tapeline[speech] is not installed")

# Stands in for the speaking process: a loud sample for each character. What makes the real one die or hang makes this one so.
SPEAKER = """
import json, sys, time
out = sys.stdout.buffer
out.write((8000).to_bytes(4, "little")); out.flush()
for line in sys.stdin.buffer:
    asked = json.loads(line)
    if "die" in asked["text"] and asked["ssml"]:
        sys.exit(1)
    if "hang" in asked["text"]:
        time.sleep(60)
    said = b"\\x00\\x40" * len(asked["text"])
    out.write(len(said).to_bytes(4, "little") + said); out.flush()
"""


@pytest.fixture
def voice(tmp_path: Path) -> Iterator[Speech]:
    made = Speech(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speech]:
    script = tmp_path / "speaker.py"
    script.write_text(SPEAKER)
    monkeypatch.setattr(speech, "espeak", SimpleNamespace(__file__=str(script)))
    monkeypatch.setattr(speech, "espeakng_loader", SimpleNamespace(get_library_path=lambda: "", get_data_path=lambda: ""))
    made = Speech(tmp_path / "cache")
    yield made
    made.close()


def level(sound: np.ndarray) -> float:
    """Mean, in 16-bit steps."""
    return float(np.abs(sound.astype(np.int32)).mean()) if len(sound) else 0.0


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two texts sound, 0 to 1: the correlation of their spectra over time."""
    size = min(len(one), len(other)) // 160 * 160
    shapes = [np.abs(np.fft.rfft(sound[:size].astype(float).reshape(-1, 160))).ravel() for sound in (one, other)]
    return float(shapes[0] @ shapes[1] / np.sqrt((shapes[0] @ shapes[0]) * (shapes[1] @ shapes[1])))


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").glob("??/*"))


@spoken_here
def test_a_text_is_heard_and_takes_as_long_as_its_words(voice: Speech) -> None:
    assert voice.available
    once, twice = voice.say(SENTENCE), voice.say(f"{SENTENCE} {SENTENCE}")
    assert once.dtype == np.int16 and once.ndim == 1
    assert 2.0 < len(once) / 8000 < 5.0 and level(once) > 500
    assert 1.7 < len(twice) / len(once) < 2.3
    loud = np.abs(once[: len(once) // 400 * 400].reshape(-1, 400).astype(np.int32)).mean(axis=1)
    assert loud.max() > 10 * max(1.0, loud.min()), "syllables and pauses, not a steady tone"


@spoken_here
@pytest.mark.parametrize("rate", [16000, 48000])
def test_another_rate_is_the_same_speech(voice: Speech, rate: int) -> None:
    low, high = voice.say(SENTENCE, rate=8000), voice.say(SENTENCE, rate=rate)
    assert len(high) == pytest.approx(len(low) * rate / 8000, abs=rate / 100)
    assert level(high) == pytest.approx(level(low), rel=0.25)


@spoken_here
def test_what_was_said_once_is_not_synthesised_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voice: Speech) -> None:
    first = voice.say(SENTENCE)
    monkeypatch.setattr(speech, "espeakng_loader", None)  # whoever synthesises now, gets a tone
    assert np.array_equal(Speech(tmp_path / "cache").say(SENTENCE), first)
    other = Speech(tmp_path / "cache").say(SENTENCE, rate=16000)
    assert not np.array_equal(other[: len(first)], first[: len(other)]), "kept by rate too"
    assert len(kept(tmp_path)) == 1


@spoken_here
def test_ssml_is_obeyed_and_not_read_out(voice: Speech) -> None:
    plain = voice.say("one two")
    marked = voice.say("<speak>one two</speak>")
    paused = voice.say('<speak>one<break time="2s"/>two</speak>')
    slow = voice.say('<speak><prosody rate="x-slow">one two</prosody></speak>')
    assert len(marked) == pytest.approx(len(plain), rel=0.15)
    assert len(paused) - len(marked) == pytest.approx(16000, abs=4000)
    assert len(slow) > 1.3 * len(marked)


@spoken_here
def test_ssml_that_never_ends_does_not_change_the_next_text(voice: Speech) -> None:
    before = voice.say("one two three.")
    voice.say('<speak><prosody rate="x-slow" volume="silent"><voice name="de">one <broken')
    after = voice.say("one two three. ")
    assert len(after) == pytest.approx(len(before), rel=0.02) and level(after) == pytest.approx(level(before), rel=0.05)


@spoken_here
def test_ssml_plays_no_file_of_this_machine(tmp_path: Path, voice: Speech) -> None:
    wav.write(tmp_path / "secret.wav", tones.tone(1000.0, 3.0, 22050, -3.0), 22050)
    sound = voice.say(f'<speak>hello <audio src="{tmp_path}/secret.wav">instead</audio></speak>')
    assert 0.4 < len(sound) / 8000 < 2.5
    power = np.abs(np.fft.rfft(sound.astype(float))) ** 2
    around = slice(round(995 * len(sound) / 8000), round(1005 * len(sound) / 8000) + 1)
    assert power[around].sum() < 0.1 * power.sum()


@spoken_here
def test_languages_differ_and_one_that_nobody_speaks_is_read_in_english(voice: Speech) -> None:
    english, german = voice.say(SENTENCE, "en-US"), voice.say(SENTENCE, "de-DE")
    assert not np.array_equal(english[: len(german)], german[: len(english)])
    for nobody in ("zz-ZZ", "", "../../etc", "x" * 5000):
        assert len(voice.say(SENTENCE, nobody)) == pytest.approx(len(english), rel=0.02)


@spoken_here
def test_texts_said_at_once_do_not_mix(tmp_path: Path, voice: Speech) -> None:
    texts = [f"{word} {count}" for count in range(3) for word in ("alpha", "bravo charlie", "delta echo foxtrot", "golf")]
    alone = {text: voice.say(text) for text in texts}
    together = Speech(tmp_path / "other")
    found: dict[str, np.ndarray] = {}
    threads = [threading.Thread(target=lambda text=text: found.update({text: together.say(text)})) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together.close()
    for text in texts:  # espeak-ng breathes a little differently each time, by some milliseconds
        assert len(found[text]) == pytest.approx(len(alone[text]), rel=0.05), text
        nearest = max(texts, key=lambda other: likeness(found[text], alone[other]))
        assert nearest == text and likeness(found[text], alone[text]) > 0.9


@spoken_here
@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", "\x01 50 percent", "\ud800", "?!...", "<speak>", "<speak><", "&#0;", "[[_^_de]]", "٣ 数字 🙂"]
)
def test_any_text_can_be_said(voice: Speech, text: str) -> None:
    sound = voice.say(text)
    assert sound.dtype == np.int16 and len(sound) < 80_000


def test_nothing_takes_no_time(voice: Speech) -> None:
    assert len(voice.say("")) == len(voice.say(" \n\t ")) == 0


def test_without_a_voice_a_tone_takes_its_place_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(speech, "espeakng_loader", None)
    mute = Speech(tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        assert not mute.available
        short, long = mute.say("one"), mute.say(SENTENCE * 3)
        assert not mute.available and np.array_equal(mute.say("one"), short)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "there is no speech, prompts are tones: not installed; pip install 'tapeline[speech]'"
    ]
    assert len(short) == 4000 and 6.0 < len(long) / 8000 < 12.0 and level(short) > 200
    assert len(mute.say("x" * 20_000)) == 30 * 8000, "nobody listens to a tone for twenty minutes"
    assert not kept(tmp_path), "once there is a voice, it is the voice that is heard"


def test_a_library_that_does_not_start_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    absent = SimpleNamespace(get_library_path=lambda: str(tmp_path / "none.so"), get_data_path=lambda: str(tmp_path))
    monkeypatch.setattr(speech, "espeakng_loader", absent)
    mute = Speech(tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        assert not mute.available and len(mute.say("one")) == 4000
    assert len(caplog.records) == 1


def test_a_speaker_that_was_killed_is_started_again(fake: Speech) -> None:
    assert len(fake.say("one")) == 3
    assert fake._speaker is not None
    process = fake._speaker._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(fake.say("three")) == 5


def test_ssml_that_brings_the_speaker_down_is_said_without_its_markup(fake: Speech, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sound = fake.say("<speak>die<x/></speak>")
    assert set(sound.tolist()) == {0x4000} and 3 <= len(sound) <= 6
    assert len(caplog.records) == 1 and "die" not in caplog.text, "texts may hold names"


def test_a_speaker_that_hangs_is_given_up(fake: Speech, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert fake.available
    with monkeypatch.context() as impatient:
        impatient.setattr(speech, "_PATIENCE_S", 0.05)
        assert len(fake.say("hang")) == 4000, "a tone"
    assert len(caplog.records) == 1 and "too long" in caplog.text, "tried once: others wait"
    assert len(fake.say("three")) == 5


def test_closing_leaves_no_process_and_is_no_end(fake: Speech) -> None:
    assert fake.available and fake._speaker is not None
    process = fake._speaker._process
    fake.close()
    assert process.poll() is not None
    fake.close()
    assert len(fake.say("again")) == 5


def test_a_kept_file_that_is_damaged_is_said_anew(tmp_path: Path, fake: Speech) -> None:
    fake.say("one")
    (path,) = kept(tmp_path)
    for damage in (b"", b"RIFF", bytes(200)):
        path.write_bytes(damage)
        assert len(fake.say("one")) == 3 and wav.info(path).frames == 3


def test_a_cache_that_refuses_costs_only_the_next_synthesis(
    tmp_path: Path, fake: Speech, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert len(fake.say("one")) == 3 == len(fake.say("one"))
    assert len(caplog.records) == 2 and not list(tmp_path.glob("**/*.new"))


def test_the_oldest_is_forgotten_first(tmp_path: Path, fake: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_CACHE_BYTES", 300)
    monkeypatch.setattr(speech, "_PRUNE_EVERY", 4)
    for age, text in enumerate(("aaaa", "bbbb", "cccc")):
        fake.say(text)
        newest = max(kept(tmp_path), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (age, age))
    fake.say("dddd")  # 88 bytes each: three fit
    assert len(kept(tmp_path)) == 3
    monkeypatch.setattr(speech, "espeakng_loader", None)
    later = Speech(tmp_path / "cache")
    assert [len(later.say(text)) for text in ("bbbb", "cccc", "dddd", "aaaa")] == [4, 4, 4, 4000]


def test_a_text_is_bounded(fake: Speech) -> None:
    assert len(fake.say("x" * 50_000)) == speech.MOST_CHARACTERS


@pytest.mark.parametrize(
    ("tag", "first"),
    [("en-US", "en-us"), ("", "en-us"), ("en", "en-us"), ("en_GB", "en"), ("zh-CN", "cmn"), ("zh-HK", "yue"), ("es-MX", "es-419")],
)
def test_tags_of_bcp_47_become_names_of_voices(tag: str, first: str) -> None:
    assert voices(tag)[0] == first and "en-us" in voices(tag)


@pytest.mark.parametrize(("tag", "names"), [("nb-NO", ["nb-no", "nb", "en-us"]), ("xx-Latn-XX", ["xx-latn-xx", "xx-latn", "xx", "en-us"])])
def test_what_a_tag_is_part_of_is_tried_too(tag: str, names: list[str]) -> None:
    assert voices(tag) == names
