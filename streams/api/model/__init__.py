"""The incidents of the compacted topic `incidents`, in a local SQLite file that the API answers lists from.

The file is a copy: whatever is wrong with it, it is made again from the topic.
"""
