"""Damage to small valid files: strategies of hypothesis for bytes and for trees of JSON values."""

import copy
import io
import json
import time
import zipfile

import numpy as np
from hypothesis import strategies as st

from gear.files.mistakes import Mistake

VALUES = (
    *(None, True, 0, -1, 1, 3, 1000, 65536, 2**31, 2**70, -0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "0", "../x", "a\0b", "\ud800", "é" * 300, [], {}, [[]], [0], ["x"], {"x": 0}),
    *({"": None}, [None] * 50),
)
WEDGES = (b"", b"\0", b"\xff\xfe", b"<<<<<<< HEAD\n", b"[" * 3000, b"{" * 3000, b"\n", b'"', b"-")
SECONDS = 2.0  # CPU time of the slowest reader


@st.composite
def damaged(draw, content):
    """Bytes that are cut, flipped, inserted into, doubled or overwritten, one to three times."""
    for _ in range(draw(st.integers(1, 3))):
        # headers are at both ends of a file, so that half of the places are there
        near = draw(st.sampled_from(("begin", "end", "any", "any")))
        place = draw(st.integers(0, len(content) if near == "any" else min(200, len(content))))
        place = len(content) - place if near == "end" else place
        kind = draw(st.sampled_from(("cut", "flip", "insert", "number", "double", "drop")))
        if kind == "cut":
            content = content[:place]
        elif kind == "flip" and place < len(content):
            bit = 1 << draw(st.integers(0, 7))
            content = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
        elif kind == "insert":
            wedge = draw(st.one_of(st.sampled_from(WEDGES), st.binary(max_size=8)))
            content = content[:place] + wedge + content[place:]
        elif kind == "number":  # a size or an offset of 4 or 8 bytes
            size = draw(st.sampled_from((4, 8)))
            value = draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**24)))
            order = draw(st.sampled_from(("little", "big")))
            content = content[:place] + value.to_bytes(size, order) + content[place + size :]
        elif kind == "double":
            content = content[:place] + content[:place][-draw(st.integers(1, 50)) :] + content
        else:
            content = content[:place] + content[place + draw(st.integers(1, 20)) :]
    return content


def _places(tree, above=()):
    """The keys that lead to each value of a tree, the tree itself included."""
    yield above
    for key in (
        range(len(tree)) if isinstance(tree, list) else tree if isinstance(tree, dict) else ()
    ):
        yield from _places(tree[key], (*above, key))


@st.composite
def changed(draw, tree, values=VALUES):
    """A copy of a tree in which one to three values are replaced by one of `values`, or removed."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = (None, *draw(st.sampled_from(list(_places(tree)))))
        value = draw(st.sampled_from((*values, "REMOVE")))
        if last is None:
            tree = copy.deepcopy(value)
            continue
        node = tree
        for key in above[1:]:
            node = node[key]
        if value == "REMOVE":
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return tree


def texts(tree):
    """Damage to a file of JSON: to its values, and to its bytes."""
    whole = json.dumps(tree).encode()
    return st.one_of(changed(tree).map(json.dumps).map(str.encode), damaged(whole))


def npz(arrays, compress=False):
    """The bytes of an .npz of {name: array, or the bytes of the .npy}."""
    out = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", array if isinstance(array, bytes) else npy(array))
    return out.getvalue()


def npy(array):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array))
    return out.getvalue()


OTHERS = (  # arrays of other types and shapes
    *(np.zeros(()), np.zeros(0), np.zeros((2, 2)), np.arange(3), np.array("text"), np.ones(5) > 0),
    *(np.full((2, 3), np.nan), np.zeros((1, 1, 1, 1), np.int8), np.array([1j]), np.array([b"x"])),
)


@st.composite
def archives(draw, arrays):
    """An .npz of {name: array} that is damaged: its bytes, those of a member, or its arrays."""
    whole = {name: npy(array) for name, array in arrays.items()}
    name = draw(st.sampled_from(sorted(whole)))
    kind = draw(st.sampled_from(("bytes", "member", "header", "other", "gone")))
    if kind == "bytes":
        return draw(damaged(npz(whole, draw(st.booleans()))))
    if kind == "member":
        whole[name] = draw(damaged(whole[name]))
    elif kind == "header":
        shape = draw(st.sampled_from(("()", "(-1,)", f"({2**62},)", "(1e9,)", "[3]", "(9, 9, 9)")))
        descr = draw(st.sampled_from(("'<f8'", "'|O'", "'<U9999999'", "'|V0'", "[('a', '<f8')]")))
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        whole[name] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    elif kind == "other":
        whole[name] = npy(draw(st.sampled_from(OTHERS)))
    else:
        del whole[name]
    return npz(whole, draw(st.booleans()))


def holds(read):
    """1 where a reader returned, 0 where it raised a Mistake of one sentence.

    Anything else, and more than SECONDS of CPU time, is a failure of the test."""
    begin = time.process_time()
    try:
        read()
        whole = 1
    except Mistake as error:
        whole = 0
        assert "\n" not in str(error) and str(error)[-1] in ".?", str(error)
    assert time.process_time() - begin < SECONDS
    return whole
