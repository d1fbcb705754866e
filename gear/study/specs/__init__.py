"""Specs: the data that the job of a table, a figure or the page of claims receives."""
