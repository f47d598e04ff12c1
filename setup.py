"""What setup.cfg, which holds everything else, cannot say: one loop is compiled where there is a C compiler, and runs in Python elsewhere (docs/operating.md).

JT1078RELAY_PLAIN=1 leaves it in Python anyway.
"""

import os

from setuptools import Extension, setup

SCAN = Extension("relay.hub._scan", ["relay/hub/_scan.c"], optional=True)

setup(ext_modules=[] if os.environ.get("JT1078RELAY_PLAIN") else [SCAN])
