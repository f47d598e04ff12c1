"""What setup.cfg, which holds everything else, cannot say: JT1078RELAY_COMPILE=1 has mypyc compile the hot path (docs/operating.md).

Without it nothing is compiled.
"""

import os

from setuptools import Extension, setup

#: plain Python, which stays beside what is made of it
HOT = ["relay/hub/shortcut.py"]


def compiled() -> list[Extension]:
    """The hot path; nothing while pip only asks what the building needs."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    return mypycify(["--config-file", os.devnull, "--ignore-missing-imports", *HOT])


if os.environ.get("JT1078RELAY_COMPILE"):
    setup(setup_requires=["mypy[mypyc]"], ext_modules=compiled())
else:
    setup()
