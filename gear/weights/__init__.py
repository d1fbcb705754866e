"""Public weights: in from the published layouts, and out again."""

LAYOUTS = ("llamagen-tokenizer", "llamagen-c2i", "open-magvit2", "ibq", "gear")
