"""``python -m testbed`` is the same as ``testbed``."""

from testbed.cli import main

main()
