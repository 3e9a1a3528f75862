"""`python -m streams.client FOLDER`: generate the client of this version's API there, to build a wheel of."""

import sys
from pathlib import Path

from streams.api.app import description
from streams.client.package import write

write(description(), Path(sys.argv[1]))
