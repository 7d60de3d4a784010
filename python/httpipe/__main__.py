"""`python -m httpipe` is `httpipe`."""

import sys

from ._binary import become

if __name__ == "__main__":
    try:
        become(*sys.argv[1:])
    except OSError as error:
        sys.exit("error: %s" % error)
