"""A storm of which every alert's cause is known, and the grade of what a system makes of it.

`generator` makes the storm, `grader` judges, and `baselines` and `alertmanager` are what others would make of it. None
of them imports anything of the product; `product` does. The product runs in a process of its own that is given two
files, the events and the topology. What causes what is in a third file, which is written after that process is done.
"""
