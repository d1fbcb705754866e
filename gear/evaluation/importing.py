"""Import the weights of a feature network and the reference of its protocol, both local files.

The network is Inception, or DINOv2 for samples of captions.

Everything that can be wrong with them is found before the first image is looked at; then the
features of the reference's images are computed once for all jobs that score. Writes what a
stand-in's training writes: weights.safetensors, reference.npz, and run.json, which states the
sha256 of both files.

python -m gear.evaluation.importing --job JSON --output DIR
"""

import argparse
import json
import sys
from pathlib import Path

from gear.evaluation import networks, reference
from gear.files import hashes
from gear.files.mistakes import Mistake
from gear.metrics.protocol import named
from gear.runtime import checkpoint, provenance
from gear.runtime.device import use


def import_features(spec, protocol, output, device):
    """spec: a study's `features` or `text_features`; protocol: the name of its protocol."""
    protocol, kind = named(protocol), spec["kind"]
    if networks.WAYS.get(protocol.name, ("",))[0] != kind:
        raise Mistake(
            f"protocol {protocol.name} is not computed on {spec['label']}; name another protocol "
            "in the study's file: adm or clean for inception, fdd for dinov2."
        )
    source = Path(spec["reference"])
    size, _ = reference.peek(source, protocol)
    network, weights = networks.module_of(protocol.name).load(spec["weights"], spec.get("sha256"))
    extract = networks.extractor(protocol.name, network.to(device), weights)
    found = reference.load(source, extract, networks.BATCH[device.type])
    reference.save(f"{output}/reference.npz", found, extract)
    origin = {"name": source.name}
    if source.is_file():
        origin |= {"sha256": hashes.sha256(source), "bytes": source.stat().st_size}
    record = {
        "label": spec["label"],
        "kind": kind,
        "protocol": protocol.name,
        "weights": {"name": Path(spec["weights"]).name, "sha256": weights},
        "reference": origin,
        "size": size,
        **provenance.environment(),
    }
    inner = network.network if kind == "inception" else network.encoder
    record |= {"shape": network.shape} if kind == "dinov2" else {}
    checkpoint.save_folder(output, {kind: inner}, record)
    print(f"{spec['label']}: {spec['weights']}, sha256 {weights}; {source}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="Import a feature network and a reference.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    import_features(args.job["spec"], args.job["protocol"], args.output, use())


if __name__ == "__main__":
    main()
