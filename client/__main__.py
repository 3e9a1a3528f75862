"""`python -m client FOLDER`: generate the client of this version's API there, to build a wheel of."""

import sys
from pathlib import Path

from client.package import write
from streams.api.app import description

write(description(), Path(sys.argv[1]))
