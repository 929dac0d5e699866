"""Words that every package shares: errors, ids, clocks, settings, principals and the specification of a recording.

This package imports nothing else of tapeline and does no I/O of its own, except that `clock.SystemClock` is the one place
that asks the operating system for the time and `settings.load` reads one file.
"""
