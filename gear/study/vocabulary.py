"""The printed names, arrows and decimals of the metrics. A name depends on the protocol."""

from dataclasses import dataclass

from gear.files.mistakes import Mistake, did_you_mean

REAL = ("adm", "reconstruction", "fdd", "coco", "clip", "geneval", "dpg")  # on published networks
STAND_INS = ("demo", "demo_text")  # protocols on features of a stand-in network
COLLAPSED = 0.2  # share of the codes in use below which a codebook counts as collapsed


@dataclass(frozen=True)
class Metric:
    name: str  # printed for a published protocol
    stand_in: str  # printed for features of a stand-in network
    decimals: int
    better: int  # -1 lower, +1 higher, 0 neither
    block: str  # generation | gpic | following | coco | clip | benchmark | reconstruction |
    # codebook | likelihood | similarity | states | parameters


WHERE = {  # of the places below, in words
    "pre": "Before quantization:",
    "post": "After quantization:",
    "aligned": "At the aligned layer:",
    "last": "At the last layer:",
}
PLACES = {  # where features are compared with the teacher's: their block
    "pre": "similarity",  # the tokenizer's, before quantization
    "post": "similarity",  # the tokenizer's, after quantization
    "aligned": "states",  # the AR's, at the aligned layer
    "last": "states",  # the AR's, at the last layer
}
METRICS = {
    "gfid": Metric("gFID", "gFD", 2, -1, "generation"),
    "sfid": Metric("sFID", "sFD", 2, -1, "generation"),
    "is": Metric("IS", "IS*", 2, 1, "generation"),
    "precision": Metric("Prec.", "Prec.*", 3, 1, "generation"),
    "recall": Metric("Rec.", "Rec.*", 3, 1, "generation"),
    "fdd": Metric("FDD", "FD*", 2, -1, "gpic"),
    "density": Metric("Density", "Density*", 3, 1, "gpic"),
    "coverage": Metric("Coverage", "Coverage*", 3, 1, "gpic"),
    "mmd": Metric("MMD", "MMD*", 3, -1, "gpic"),
    "digit": Metric("Digit*", "Digit*", 3, 1, "following"),
    "digit_shuffled": Metric("Digit*, shuffled", "Digit*, shuffled", 3, 0, "following"),
    "stroke": Metric("Stroke", "Stroke", 3, 1, "following"),
    "stroke_shuffled": Metric("Stroke, shuffled", "Stroke, shuffled", 3, 0, "following"),
    "slant": Metric("Slant", "Slant", 3, 1, "following"),
    "slant_shuffled": Metric("Slant, shuffled", "Slant, shuffled", 3, 0, "following"),
    "geneval_short": Metric("GenEval short", "GenEval short", 3, 1, "benchmark"),
    "geneval_long": Metric("GenEval long", "GenEval long", 3, 1, "benchmark"),
    "dpg": Metric("DPG", "DPG", 2, 1, "benchmark"),
    "clip_score": Metric("CLIP", "CLIP", 2, 1, "clip"),
    "fid": Metric("FID", "FID", 2, -1, "coco"),
    "rfid": Metric("rFID", "rFD", 3, -1, "reconstruction"),
    "psnr": Metric("PSNR", "PSNR", 2, 1, "reconstruction"),
    "ssim": Metric("SSIM", "SSIM", 3, 1, "reconstruction"),
    "l1": Metric("L1", "L1", 4, -1, "reconstruction"),
    "usage": Metric("Usage", "Usage", 3, 1, "codebook"),
    "usage_entropy": Metric("Usage entropy", "Usage entropy", 3, 0, "codebook"),
    "perplexity": Metric("Perplexity", "Perplexity", 1, 0, "codebook"),
    "entropy": Metric("Soft entropy", "Soft entropy", 3, 0, "codebook"),
    "effective_size": Metric("Effective size", "Effective size", 2, 0, "codebook"),
    "top1": Metric("Top-1 mass", "Top-1 mass", 4, 0, "codebook"),
    "top10": Metric("Top-10 mass", "Top-10 mass", 4, 0, "codebook"),
    "top100": Metric("Top-100 mass", "Top-100 mass", 4, 0, "codebook"),
    "top1000": Metric("Top-1000 mass", "Top-1000 mass", 4, 0, "codebook"),
    "entropy_t1": Metric("Entropy at τ = 1", "Entropy at τ = 1", 3, 0, "codebook"),
    "ntp": Metric("NTP", "NTP", 3, 0, "likelihood"),
    "align": Metric("Align.", "Align.", 3, 0, "likelihood"),
    "params_m": Metric("Params (M)", "Params (M)", 2, 0, "parameters"),
}
METRICS |= {  # similarity to the teacher's features
    f"{measure}_{level}_{place}": Metric(label, label, 3, 0, block)
    for measure in ("cknna", "cka")
    for level in ("image", "patch")
    for place, block in PLACES.items()
    for label in [f"{measure.upper()} {level}, {place}"]
}
ANALYSED = {"similarity", "states"}  # blocks whose files are in analysis/, not in metrics/
OF_TEXT = ("gpic", "following", "coco", "clip")  # blocks of scores of pictures drawn from captions
SAMPLED = ("generation", *OF_TEXT, "benchmark")  # blocks whose scores are of one sampler's pictures
BENCHMARKS = {  # metric: its protocol; scored elsewhere, by scorers that are no part of gear
    "geneval_short": "geneval",
    "geneval_long": "geneval",
    "dpg": "dpg",
}
WORDS = {  # words in the names of rows and curves, for those who have not read the paper
    "LlamaGen-REPA": "the baseline, an AR aligned to the teacher on the frozen warm-up tokenizer",
    "warm-up": "the tokenizer of stage 0, with which GEAR starts",
    "λ = 0 control": "the joint training, as long as GEAR's, without alignment of the tokenizer",
    "tokenizer λ = 3": "the tokenizer's alignment weighs 3, not 0.5",
    "identity": "text positions keep their query and key under RoPE; in all other rows these are "
    "zero, as published, so that all words of a caption weigh the same",
    "w/ STE": "tokenizer and AR trained end to end by the straight-through estimator (STE), whose "
    "gradients of NTP and alignment both reach the tokenizer",
    "w/o GAN": "the tokenizer trained without its adversarial loss",
    "w/o init": "the tokenizer trained from scratch, not from the warm-up",
    "straight-through": "the AR reads hard codes, and the gradient passes as if they were soft",
    "NTP by": "the gradient of next-token prediction reaches the tokenizer too, by the AR's input, "
    "by the tokens that it has to predict (target), or by both",
    "early": "layer of the AR that is aligned (early, default or late)",
}
ARROWS = {-1: " ↓", 0: "", 1: " ↑"}


def metric(key, where):
    """The Metric of a key. Mistake: there is none; the sentence names the nearest."""
    if key not in METRICS:
        raise Mistake(f"{where}: there is no metric '{key}'. {did_you_mean(key, METRICS)}")
    return METRICS[key]


def shown(key, protocol):
    """The printed name: gFID under adm, gFD under demo, 'gFID [clean]' under other protocols."""
    entry = METRICS[key]
    if entry.name == entry.stand_in or protocol in REAL:
        return entry.name
    return entry.stand_in if protocol in STAND_INS else f"{entry.name} [{protocol}]"


def number(value, decimals, signed=False):
    """A number for people: fixed decimals, a true minus sign, never '−0.00'."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    if signed and not text.startswith("-"):
        text = "+" + text
    return text.replace("-", "−")


def digits(value, decimals):
    """The decimals that show one digit of a difference which is not 0: `decimals`, or up to 2 more.

    A difference of 0.004 as +0.00 between 0.81 and 0.80 would read as an error."""
    enough = (d for d in range(decimals, decimals + 2) if float(f"{value:.{d}f}"))
    return decimals if value == 0 else next(enough, decimals + 2)


def plain(value):
    """A number for CSV: 6 significant digits, the same text for the same number, '' for none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return format(0.0 if value == 0 else float(value), ".6g")
