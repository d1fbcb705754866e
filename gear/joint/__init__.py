"""End-to-end tuning of tokenizer and AR: the paper's contribution."""
