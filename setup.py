"""What setup.cfg, which holds everything else, cannot say: one loop is compiled where there is a C compiler, and runs in Python elsewhere (docs/operating.md).

JT1078RELAY_PLAIN=1 leaves it in Python anyway.
"""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class Build(build_ext):
    """What could not be compiled is forgotten, as an editable installation would look for it."""

    def build_extensions(self) -> None:
        super().build_extensions()
        self.extensions = [one for one in self.extensions if os.path.exists(self.get_ext_fullpath(one.name))]


SCAN = Extension("relay.hub._scan", ["relay/hub/_scan.c"], optional=True)

setup(ext_modules=[] if os.environ.get("JT1078RELAY_PLAIN") else [SCAN], cmdclass={"build_ext": Build})
