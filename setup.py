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
    """A build that may fail, as a whole: tapeline also runs on the same sources uncompiled."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if MODE == "1":
                raise
            reason = str(error).splitlines()[0]
            reason = reason if len(reason) < 200 else f"{reason[:120]} ... {reason[-60:]}"
            print("tapeline: the compiled engine was not built; the uncompiled one will be used (far fewer calls)", file=sys.stderr)
            print(f"tapeline: (it wants a C compiler and Python's headers; what failed: {reason})", file=sys.stderr)
            self.extensions = []  # nothing half-built is installed, and no later step looks for it


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
