"""The conditions of images that are drawn, a batch at a time: labels or captions.

Both have `prefix(begin, end)`, the Prefix of the images begin to end, and `null(count)`, the Prefix
of as many images without a condition.
"""

import torch


class Labels:
    """labels: the class of each of n images, a numpy array (n,) of int64."""

    def __init__(self, ar, labels):
        self.condition, self.device = ar.condition, ar.head.weight.device
        self.labels = torch.from_numpy(labels)

    def prefix(self, begin, end):
        return self.condition(self.labels[begin:end].to(self.device))

    def null(self, count):
        return self.condition.null(count)


class Captions:
    """captions: a list of n texts; negative: the text in place of the caption, for guidance."""

    def __init__(self, ar, encoder, captions, negative=""):
        self.condition, self.encoder = ar.condition, encoder
        self.captions, self.negative, self.text = captions, negative, None

    def prefix(self, begin, end):
        return self.condition(self.encoder(self.captions[begin:end]))

    def null(self, count):
        if self.text is None:  # encoded once for all batches: all rows are equal
            self.text = self.encoder([self.negative])
        rows = (part.repeat_interleave(count, 0) for part in self.text)
        return self.condition(type(self.text)(*rows))
