"""Features of images, statistics of features, metrics of statistics, under named protocols."""

# The protocols of `gear evaluate`. Only the workflow uses demo and demo_text. reconstruction
# and clip_score compare images one by one.
PROTOCOLS = ("adm", "clean", "fdd", "coco", "reconstruction", "clip_score")

ALIASED = "{}-aliased"  # a protocol's name for images that were resized as published
