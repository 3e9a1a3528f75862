"""The delivery engine: what waits for each destination, and how it gets out.

`take` puts each notification into a table that is durable like every stage's. One courier a destination takes them
out: it sends, waits and retries, and puts each result back as one transaction. So no destination waits for another,
and a kill repeats at most what was under way.
"""
