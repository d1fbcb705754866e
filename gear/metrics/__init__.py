"""Features of images, statistics of features, metrics of statistics, under named protocols."""

# what `gear evaluate` knows; demo is the workflow's own, and reconstruction and clip_score compare
# images one by one
PROTOCOLS = ("adm", "clean", "fdd", "coco", "reconstruction", "clip_score")
