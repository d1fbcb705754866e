"""The registry: every run, table and figure of a study, resolved and checked while it is read.

It reads config/ and knows where the files of each checkpoint lie; it imports nothing heavy, because
Snakemake parses with it. All errors are one sentence that names the cure, before any job starts.
"""

import os
from functools import cached_property
from pathlib import Path

from gear import config
from gear.alignment.teachers import resolutions
from gear.files.mistakes import Mistake, did_you_mean
from gear.study import configchecks
from gear.study.configfiles import CONFIG, chosen, read_checked, read_entries, studies
from gear.study.needs import split
from gear.study.resolve import checkpoint, resolve, run_of
from gear.study.specs.claims import claims_spec
from gear.study.specs.tables import figure_spec, inputs, table_spec
from gear.study.stages import STAGES


class Study:
    """One study: its runs, tables and figures, and where their files lie."""

    def __init__(self, name, results="results", folder=CONFIG):
        folder = Path(folder)
        if name not in studies(folder):
            raise Mistake(
                f"there is no study '{name}'. {did_you_mean(name, studies(folder))} "
                "A study is a file in config/studies/."
            )
        configchecks.place(name, results)
        self.name, self.folder = name, folder
        self.root = f"{results}/{name}"
        self.spec = read_checked(f"studies/{name}", folder)
        configchecks.study(self.spec, f"studies/{name}.yaml")
        for quantizer in self.spec.get("public", {}):
            self.choice("quantizers", quantizer, f"studies/{name}.yaml, public")
        self.named = {}  # kind -> the tables or figures that config/ has, made here or not
        registry = read_checked("runs", folder)
        self.milestones = registry["milestones"]
        configchecks.milestones(self.spec, self.milestones, f"studies/{name}.yaml")
        self.runs = resolve(self, registry)
        configchecks.images(self.spec["data"], self.data, f"studies/{name}.yaml")
        self.tables = self._pick("tables")
        self.figures = self._pick("figures")
        self.claims = read_checked("claims", folder)
        configchecks.claims(self)
        self.table_specs = {name: table_spec(self, name) for name in self.tables}
        self.figure_specs = {name: figure_spec(self, name) for name in self.figures}

    @classmethod
    def chosen(cls, settings, environment=os.environ):
        """The study that a Snakemake config or the variable GEAR_STUDY names; there is no default.

        settings: {'study': name, 'results': folder}, both from the command line or a profile."""
        name = settings.get("study") or environment.get("GEAR_STUDY")
        if not name:
            raise Mistake(
                "no study is chosen; add --config study=demo (or "
                f"{', '.join(s for s in studies() if s != 'demo')}) at the end of the command, or "
                "set GEAR_STUDY. (--config on the command line replaces all of a profile's.)"
            )
        unknown = sorted(set(settings) - {"study", "results"})
        if unknown:
            raise Mistake(
                f"--config has no '{unknown[0]}'. "
                f"{did_you_mean(unknown[0], ('study', 'results'))} "
                "Settings of runs are in config/."
            )
        return cls(str(name), settings.get("results", "results"))

    # ---- reading ---------------------------------------------------------------------------

    def _pick(self, kind):
        """The tables or figures that this study makes, in the order of its list."""
        entries = read_entries(kind, self.folder)
        self.named[kind] = tuple(entries)
        made = chosen(self.spec[kind], entries, f"studies/{self.name}.yaml", kind)
        for name, entry in made.items():
            if "seeds" in entry:
                self.choice("seeds", entry["seeds"], f"{kind}.yaml, {name}")
        return made

    def choice(self, kind, name, where):
        """What the study says about one of its sizes, quantizers, teachers or samplers."""
        known = self.spec[kind]
        if name not in known:
            raise Mistake(
                f"{where}: study '{self.name}' has no {kind[:-1]} '{name}'. "
                f"{did_you_mean(name, known)}"
            )
        return known[name]

    def settings_of(self, stage):
        """The settings {dotted name: value} that the study gives all runs of a Stage."""
        where, stages = f"studies/{self.name}.yaml", self.spec.get("stages") or {}
        own = config.check(stages.get(stage.name) or {}, f"{where}, {stage.name}")
        return config.check(self.spec["settings"] or {}, where) | own

    def quantizer(self, name, where):
        """The settings {dotted name: value} of one of the study's quantizers."""
        entry = self.choice("quantizers", name, where)
        return config.check(entry, f"studies/{self.name}.yaml, quantizers")

    # ---- asking ----------------------------------------------------------------------------

    def run(self, name, where="config"):
        """The Run, after a check that there is one of that name."""
        return run_of(self.runs, name, where)

    def checkpoint(self, run, milestone, where="config"):
        """The Checkpoint, after a check that the run has that milestone."""
        return checkpoint(self.runs, run, milestone, where)

    def shown(self, run, milestone, where):
        """The Checkpoint that a table or a figure shows, after a check of its teacher too."""
        shown = self.checkpoint(run, milestone, where)
        if STAGES[shown.stage].aligns:
            settings = self.runs[run].settings
            spec = self.choice("teachers", settings.align.teacher, where)
            pixels, place = settings.data.resolution, f"{where}, {run}"
            resolutions.check(spec.get("network"), pixels, spec["label"], place)
        return shown

    def at(self, reference, where):
        """The Checkpoint of `run@milestone` in a table or a figure, checked in the same way."""
        return self.shown(*split(reference, where), where)

    def sampler(self, name, where="config"):
        return self.choice("samplers", name, where)

    def path(self, checkpoint, noun=None):
        """Folder of a checkpoint, or of what `noun` (samples, metrics) holds of it."""
        above = f"{self.root}/{noun}" if noun else self.root
        return f"{above}/{checkpoint.path}"

    def tokenizer_of(self, checkpoint):
        """The checkpoint whose tokenizer decodes this one's samples: itself, or what it froze."""
        if STAGES[checkpoint.stage].owns_tokenizer:
            return checkpoint
        return self.runs[checkpoint.run].tokenizer

    def replicas(self, name):
        """The runs that one registry line stands for, one per seed."""
        return [r.name for r in self.runs.values() if r.base == self.runs[name].base]

    @cached_property
    def claims_spec(self):
        return claims_spec(self)

    @cached_property
    def needs(self):
        """Every Need of the tables and figures, each once; the claims read some of the same."""
        specs = (*self.table_specs.values(), *self.figure_specs.values())
        return list(dict.fromkeys(need for spec in specs for need in inputs(spec)))

    @property
    def targets(self):
        """{what one may ask for: names of the tables, figures and 'claims' that it stands for}."""
        tables, figures = (*self.tables, "claims"), tuple(self.figures)
        groups = {"all": tables + figures, "all_tables": tables, "all_figures": figures}
        return groups | {"quick": ("overview", "samples")} | {n: (n,) for n in groups["all"]}

    def specs(self, target):
        """The specs of what a target stands for. Mistake: the study has no such target."""
        if target not in self.targets:
            cure = did_you_mean(target, self.targets)
            raise Mistake(f"study '{self.name}' has no target '{target}'. {cure}")
        known = self.table_specs | self.figure_specs
        return [known[n] if n in known else self.claims_spec for n in self.targets[target]]

    @property
    def data(self):
        """The data settings of the study, which only a run's resolution may differ from."""
        return next(iter(self.runs.values())).settings.data

    @property
    def makes_data(self):
        """Whether a rule makes the images, rather than list those of a folder."""
        return self.data.source == "digits"

    def manifest(self, name=None):
        """The manifest.json of a run's images; of the study's where no run is named."""
        data = self.runs[name].settings.data if name else self.data
        return f"{data.path if self.makes_data else f'{self.root}/data'}/manifest.json"

    def network(self, quantizer):
        """Settings of the study's tokenizer of that kind, without any run's changes."""
        where = f"studies/{self.name}.yaml"
        stage = next(stage for stage in STAGES.values() if stage.public)
        flat = {"tokenizer.quantizer": quantizer} | self.settings_of(stage)
        return config.build(flat | self.quantizer(quantizer, where), where)

    def initial(self, name):
        """Folder of the checkpoint whose tokenizer a run starts from or freezes, or None.

        A run of the tokenizer stage starts from its quantizer's public weights, if the study
        names some."""
        run = self.runs[name]
        if run.tokenizer:
            return self.path(run.tokenizer)
        quantizer = run.settings.tokenizer.quantizer
        public = STAGES[run.stage].public and run.from_public
        if public and quantizer in self.spec.get("public", {}):
            return f"{self.root}/public/{quantizer}"
        return None
