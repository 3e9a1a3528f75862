"""The journey of an alert, in order of travel.

gateway -> alerts.raw -> normalize -> alerts.normalized -> dedup -> alerts.unique -> correlate
-> incidents, notifications; every alert ends as one row on alerts.history. Read `pipeline.py` first.
"""
