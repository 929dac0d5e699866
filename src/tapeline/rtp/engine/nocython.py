"""What the engine's sources ask of Cython when it is not installed: only whether they are compiled.

Knows nothing of the engine. Cython's own module of the same shape takes its place where it is installed.
"""

compiled = False
