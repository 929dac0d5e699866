"""Files and sound: WAV masters, renditions, tones, speech, resampling and what can be measured in a recording.

Everything here is plain blocking work on arrays of 16-bit samples and on files; callers run it in threads. It knows nothing
of calls, packets or recordings.
"""
