"""``python -m testbed``, and the program ``testbed``."""

import sys

from testbed.core.errors import HostError
from testbed.core.extra import host_extra


def main() -> None:
    """Run the command line, or say in one sentence that the extra ``host`` is missing."""
    try:
        with host_extra():
            from testbed import cli
    except HostError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    cli.main()


if __name__ == "__main__":
    main()
