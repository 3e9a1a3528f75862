"""The outputs of the stream: ClickHouse and the channels. A sink imports `schemas` and its vendor's library only."""
