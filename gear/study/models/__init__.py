"""Models of the files of config/: which keys each has, of which type and in which range.

Only what a file says by itself is checked here. Names that another file must have, such as a run of
a table, are looked up by the registry. The settings of runs have their ranges in gear/config.py.
Defaults serve the types alone: the program goes on with what the file says. The entry of a kind of
figure is in gear/study/specs/figures/<kind>.py.
"""
