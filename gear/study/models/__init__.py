"""Models of the files of config/: the keys of each file, with their types and ranges.

A model checks one file without the others. The registry looks up names that another file defines,
such as the run of a table. The ranges of the settings of runs are in gear/config.py. The defaults
here only make a key optional; the program uses the content of the file, not the model. The entry of
a kind of figure is in gear/study/specs/figures/<kind>.py.
"""
