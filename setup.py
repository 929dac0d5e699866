"""Build the compiled engine where a C compiler is at hand; install without it where none is.

`TAPELINE_COMPILE=0` builds nothing, `TAPELINE_COMPILE=1` makes a failing build an error; unset, a failing build is
reported and the package installs uncompiled.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("TAPELINE_COMPILE", "")
SOURCES = ("src/tapeline/rtp/engine", "src/tapeline/rtp/codecs")


class OptionalBuild(build_ext):
    """A build that may fail: tapeline also runs on the same sources uncompiled."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - whatever the compiler says, the package must still install
            self._give_up(error)

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:  # noqa: BLE001
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if MODE == "1":
            raise error
        print(f"tapeline: the compiled engine was not built ({error}); the uncompiled one will be used", file=sys.stderr)


def extensions() -> list[Extension]:
    if MODE == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if MODE == "1":
            raise
        return []
    found: list[Extension] = []
    for folder in SOURCES:
        for path in sorted(Path(folder).iterdir()):
            hot = path.suffix == ".pyx" or (path.suffix == ".py" and path.with_suffix(".pxd").exists())
            if hot:
                name = ".".join(path.with_suffix("").parts[1:])
                found.append(Extension(name, [str(path)], extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wno-unused-function"]))
    if not found:
        return []
    directives = {
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "cdivision": True,
        "initializedcheck": False,
        "annotation_typing": False,  # the types are in the .pxd beside each source
    }
    return list(cythonize(found, compiler_directives=directives, include_path=["src"], quiet=True))


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
