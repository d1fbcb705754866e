"""Drawing beside a plain loop: tokens a CPU-second, and shares of the machine's ceilings.

    python benchmarks/drawing.py                           # LlamaGen-B's width and depth, 64 images
    python benchmarks/drawing.py --precision bf16 --guidance 1

benchmarks/beside.py does not fit: both loops are compared at each position, and in their tokens.
The plain loop is the network as it is trained, with gear.ar.transformer.Decoder: two products of
the head for guidance, a random number at a time, torch's own linear layers. Both loops run a few
positions, evenly spaced, one after the other, with keys and values of random numbers. A whole draw
takes minutes, so --greedy images are drawn whole to compare the tokens that are most probable.
Seconds are CPU-seconds of one thread, and of a step the median of --repeats. The last line of the
output is one JSON object.

Useful work of a step: products of all rows with the blocks' weights, of the images with the head,
and attention to the positions so far. Bytes: weights, keys and values, each read once.
"""

import argparse
import copy
import json
import statistics
import time
from functools import partial

import numpy as np
import torch

from gear import config
from gear.ar.transformer import Decoder, Transformer
from gear.runtime import rng
from gear.sampling.generate import Drawer, Sampler, choose, draw, filtered, uniforms
from gear.sampling.inference import DTYPES, Packed
from gear.sampling.steps import Steps, length_class

CLASSES = 1000


def seconds_of(*functions, repeats):
    """[[CPU-seconds of each call] of each function], called in turns after one uncounted call."""
    found = [[] for _ in functions]
    for number in range(repeats + 1):
        for function, seconds in zip(functions, found, strict=True):
            began = time.process_time()
            function()
            if number:
                seconds.append(time.process_time() - began)
    return found


def ceilings(dtype):
    """(floating-point operations, bytes copied) a CPU-second: the best of a few shapes."""
    rates = []
    for rows, width, out in ((128, 768, 4096), (128, 2048, 768), (512, 1024, 1024)):
        x, weight = torch.randn(rows, width).to(dtype), torch.randn(out, width).to(dtype)
        packed = Packed(weight)
        ways = partial(torch.nn.functional.linear, x, weight), partial(packed, x)
        best = min(min(seconds) for seconds in seconds_of(*ways, repeats=20))
        rates.append(2 * rows * width * out / best)
    source = torch.ones(2**25)
    target = torch.empty_like(source)
    copied = min(seconds_of(lambda: target.copy_(source), repeats=10)[0])
    return max(rates), 2 * source.nbytes / copied  # read and written


def filled(decoder, position, room):
    """The decoder as if `position` positions were read, with room for `room`."""
    for number, cache in enumerate(decoder.caches):
        B, H, _, d = cache.k.shape
        numbers = torch.Generator().manual_seed(number)
        for name in ("k", "v"):
            whole = torch.randn(position + 1, B, H, d, generator=numbers).permute(1, 2, 0, 3)
            part = torch.zeros(B, H, room, d, dtype=cache.k.dtype)
            part[:, :, : position + 1] = whole
            setattr(cache, name, part)
        cache.length = position
    return decoder


def plain_token(ar, decoder, x_BSD, seeds, position, sampler):
    """(B,) of one position of the plain loop."""
    logits = decoder.next_logits(x_BSD)
    if sampler.guidance != 1.0:
        cond, uncond = logits.chunk(2)
        logits = uncond + sampler.guidance * (cond - uncond)
    u = rng.uniform(("sampling",), seeds, np.uint64(position))
    return choose(filtered(logits, sampler), u)


@torch.no_grad()
def plain_draw(ar, prefix, seeds, sampler):
    """Tokens (B, N) of the plain loop."""
    if sampler.guidance != 1.0:
        prefix = prefix.beside(ar.condition.null(len(seeds)))
    decoder, x_BSD, tokens = Decoder(ar, prefix), prefix.vectors_BPD, []
    for position in range(ar.length):
        tokens.append(plain_token(ar, decoder, x_BSD, seeds, position, sampler))
        copies = len(x_BSD) // len(seeds)
        x_BSD = ar.embedding(torch.cat([tokens[-1]] * copies))[:, None]
    return torch.stack(tokens, 1)


def work(ar, images, rows, position, dtype):
    """(operations, bytes) of the step that reads one position after `position` others."""
    blocks = sum(p.numel() for p in ar.blocks.parameters())
    head, width, layers = ar.head.weight.numel(), ar.config.dim, ar.config.layers
    attention = 4 * rows * layers * width * (position + 1)
    cached = 2 * rows * layers * width * (position + 1)
    return 2 * (rows * blocks + images * head) + attention, dtype.itemsize * (
        blocks + head + cached
    )


class Sides:
    """Both loops on one random network."""

    def __init__(self, args):
        self.args, self.dtype = args, DTYPES[args.precision]
        torch.manual_seed(0)
        shape = config.AR(layers=args.layers, dim=args.width, heads=args.heads)
        ar = Transformer(shape, args.codes, CLASSES, args.side).eval().requires_grad_(False)
        torch.nn.init.normal_(ar.head.weight, 0.0, 0.02)
        self.ar, low = ar, self.dtype != torch.float32
        self.cast = copy.deepcopy(ar).to(self.dtype) if low else ar
        self.sampler = Sampler(args.images, args.guidance, precision=args.precision)
        self.rows = args.images * (1 if args.guidance == 1.0 else 2)

    @torch.no_grad()
    def at(self, position):
        """([[seconds of plain], [of ours]], tokens that differ) of one position."""
        args, seeds = self.args, np.arange(self.args.images)
        prefix = self.cast.condition(torch.arange(self.rows) % CLASSES)
        drawer = Drawer(self.ar, self.sampler)
        x_BSD = self.cast.embedding(torch.arange(self.rows) * 7 % args.codes)[:, None]
        u_B = torch.from_numpy(uniforms(seeds, self.ar.length))[position]
        plain = filled(Decoder(self.cast, prefix), position, self.ar.length)
        ours = filled(Steps(drawer.network, prefix), position, length_class(position + 1))

        def of_plain():
            for cache in plain.caches:
                cache.length = position
            return plain_token(self.cast, plain, x_BSD, seeds, position, self.sampler)

        def of_ours():
            for cache in ours.caches:
                cache.length = position
            return drawer.next_token(ours.next_logits(x_BSD), u_B)

        differ = int((of_plain() != of_ours()).sum())
        return seconds_of(of_plain, of_ours, repeats=args.repeats), differ

    def greedy_equal(self):
        """Whether whole images of the most probable tokens are the same, in fp32."""
        count, sampler = self.args.greedy, Sampler(1, self.args.guidance, top_k=1)
        prefix, seeds = self.ar.condition(torch.arange(count)), np.arange(count)
        plain = plain_draw(self.ar, prefix, seeds, sampler)
        return bool(torch.equal(plain, draw(self.ar, prefix, seeds, sampler)))


def positions_of(length, count):
    return [int(p) for p in np.linspace(1, length - 1, count).round()]


def rows_of(args, sides):
    """Prints a table and yields ([seconds of plain], [of ours], work, tokens that differ) of each
    position."""
    print("position   plain ms            ours ms             ratio (least to largest)")
    for position in positions_of(sides.ar.length, args.positions):
        (plain, ours), differ = sides.at(position)
        pairs = [p / o for p, o in zip(plain, ours, strict=True)]
        shown = [
            f"{1000 * statistics.median(v):5.0f} ({1000 * min(v):.0f} to {1000 * max(v):.0f})"
            for v in (plain, ours)
        ]
        ratio = statistics.median(plain) / statistics.median(ours)
        ends = f"{ratio:.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        print(f"{position:8d}   {shown[0]:18s}  {shown[1]:18s}  {ends}", flush=True)
        yield plain, ours, work(sides.ar, args.images, sides.rows, position, sides.dtype), differ


def report(args, sides):
    """Print the table, then one line of JSON."""
    product, copied = ceilings(sides.dtype)
    print(
        f"{args.precision}: {product / 1e9:.0f} GFLOP/s in products, {copied / 1e9:.1f} GB/s copied"
    )
    plain, ours, spent, differ = zip(*rows_of(args, sides), strict=True)
    plain, ours = ([statistics.median(seconds) for seconds in way] for way in (plain, ours))
    ratios = [p / o for p, o in zip(plain, ours, strict=True)]
    tokens, (operations, moved) = args.images * args.positions, map(sum, zip(*spent, strict=True))
    shares = operations / product / sum(ours), moved / copied / sum(ours)
    result = {
        "images": args.images,
        "layers": args.layers,
        "precision": args.precision,
        "guidance": args.guidance,
        "ratio": sum(plain) / sum(ours),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "plain_tokens_per_cpu_s": tokens / sum(plain),
        "ours_tokens_per_cpu_s": tokens / sum(ours),
        "share_of_products": shares[0],
        "share_of_copies": shares[1],
        "share_of_both": sum(shares),
        "tokens": tokens,
        "tokens_that_differ": sum(differ),
    }
    if args.greedy:
        result["greedy_equal"] = sides.greedy_equal()
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options = {"layers": 12, "width": 768, "heads": 12, "codes": 16384, "images": 64}
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--side", type=int, default=16, help="tokens in a row of an image")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--positions", type=int, default=8, help="how many, evenly spaced")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--greedy", type=int, default=2, help="images to draw whole; 0: none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report(args, Sides(args))


if __name__ == "__main__":
    main()
