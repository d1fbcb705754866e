"""Import and export of weights in the published layouts."""

LAYOUTS = ("llamagen-tokenizer", "llamagen-c2i", "llamagen-t2i", "open-magvit2", "ibq", "gear")
