"""Commands that use one checkpoint: pictures and numbers out, nothing trained."""
