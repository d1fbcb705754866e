"""The loop of drawing as one CUDA graph for each length class.

A GPU may need less time for a step than the host needs to start its hundreds of kernels. A step
whose shapes and addresses never change is therefore recorded once and then replayed. Everything
that changes, such as the position and the token that was drawn last, is a tensor on the GPU.

Shapes: B images, N tokens of an image, P slots of the prefix, D width.
"""

from contextlib import contextmanager
from functools import cache

import torch

from gear.runtime.progress import say
from gear.sampling.steps import FixedDecoder, length_class


@contextmanager
def plain_writes():
    """Inside, torch writes to numbered places with its plain kernels.

    Its deterministic kernels make the host wait, which a recording does not allow. Where all places
    are different, both write the same."""
    if not torch.are_deterministic_algorithms_enabled():
        yield  # the switch would load the compiler
        return
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)


@cache
def side_stream(device):
    """The stream on which steps are recorded: one, because cuBLAS keeps memory for each stream."""
    return torch.cuda.Stream(device)


class Replay:
    """Draws batches of `images` images from prefixes of `rows` rows.

    next_token(logits, u_B): the tokens (B,) of one position. recorded: whether steps are recorded,
    which needs CUDA; otherwise each step runs by itself, as it does after a recording failed."""

    def __init__(self, network, rows, images, next_token, recorded):
        self.network, self.copies, self.next_token = network, rows // images, next_token
        self.decoder, self.recorded = FixedDecoder(network, rows), recorded
        self.graphs, self.pool = {}, None
        device = network.embedding.weight.device
        self.uniforms_NB = torch.zeros(network.length, images, dtype=torch.float64, device=device)
        self.tokens_NB = torch.zeros(network.length, images, dtype=torch.long, device=device)
        self.token_B = torch.zeros(images, dtype=torch.long, device=device)
        self.number = torch.zeros(1, dtype=torch.long, device=device)  # of the token to draw

    @plain_writes()
    def __call__(self, prefix, uniforms_NB, report):
        """Tokens (B, N). report(share): called after each position's launch."""
        self.uniforms_NB.copy_(uniforms_NB)
        self.number.zero_()
        self.choose(self.decoder.first_logits(prefix))
        for number in range(1, self.network.length):
            self.advance(length_class(self.decoder.slots + number))
            report((number + 1) / self.network.length)
        return self.tokens_NB.T.clone()

    def choose(self, logits):
        u_B = self.uniforms_NB.index_select(0, self.number)[0]
        self.token_B.copy_(self.next_token(logits, u_B))
        self.tokens_NB.index_copy_(0, self.number, self.token_B[None])
        self.number += 1

    def step(self, end):
        """Read the last token, draw the next one."""
        # both halves of a batch with guidance read the token: (B,) -> (rows, 1, D)
        x_BSD = self.network.embedding(self.token_B)[:, None].repeat(self.copies, 1, 1)
        at_S = self.number + (self.decoder.slots - 1)
        self.choose(self.decoder.next_logits(x_BSD, at_S, end))

    def advance(self, end):
        """The step, recorded if it is the first one of its length class."""
        if end in self.graphs:
            self.graphs[end].replay()
        elif self.recorded:
            self.run_and_record(end)
        else:
            self.step(end)

    def run_and_record(self, end):
        """Run the step once, then record it, which does not run it."""
        here, side = torch.cuda.current_stream(), side_stream(self.number.device)
        # libraries get their memory in the first run on a stream, so that no recording holds it
        side.wait_stream(here)
        with torch.cuda.stream(side):
            self.step(end)
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: another thread, such as NCCL's watchdog, may use the GPU meanwhile
            options = {"stream": side, "capture_error_mode": "thread_local"}
            with torch.cuda.graph(graph, self.pool, **options):
                self.step(end)
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # torch 2.11 may stay on the other one
            # the end of a recording that failed raises one more error, about the recording
            if torch.OutOfMemoryError in (type(error), type(error.__context__)):
                raise torch.OutOfMemoryError(str(error)) from error
            self.recorded = False
            say(f"warning: the steps of drawing are not recorded, which is slower: {error}")
            return
        self.pool = graph.pool()  # of all graphs: none runs beside another
        self.graphs[end] = graph
