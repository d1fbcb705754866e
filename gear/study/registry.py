"""The registry: all runs, tables and figures of a study, resolved and checked.

It reads config/ and knows the paths of each checkpoint's files. Snakemake imports it at each start,
so it must not import torch. Each error is one sentence that names the cure, before any job starts.
"""

import os
from functools import cached_property
from pathlib import Path

from gear import config
from gear.alignment.teachers import resolutions
from gear.files.mistakes import Mistake, did_you_mean
from gear.study import captions, configchecks, fit
from gear.study.configfiles import CONFIG, chosen, read_checked, read_entries, studies
from gear.study.needs import split
from gear.study.resolve import checkpoint, resolve, run_of
from gear.study.specs.claims import claims_spec, pages
from gear.study.specs.tables import NoColumn, figure_spec, inputs, table_spec
from gear.study.stages import STAGES


class Study:
    """One study: its runs, tables and figures, and the paths of their files."""

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
        self.named = {}  # kind -> all tables or figures of config/, also those of other studies
        registry = read_checked("runs", folder)
        self.milestones = registry["milestones"]
        # a study may have no milestones of a stage that reads text
        self.stages = [name for name in STAGES if self.spec["milestones"].get(name)]
        configchecks.milestones(self.spec, self.milestones, f"studies/{name}.yaml")
        self.runs = resolve(self, registry)
        configchecks.images(self.spec["data"], self.data, f"studies/{name}.yaml")
        configchecks.lookups(self.runs)
        captions.parts(self, f"studies/{name}.yaml")
        self.tables = self._pick("tables")
        self.figures = self._pick("figures")
        self.claims = read_checked("claims", folder)
        configchecks.claims(self)
        self.table_specs = self._table_specs()
        self.figure_specs = {name: figure_spec(self, name) for name in self.figures}
        fit.study(self)

    @classmethod
    def chosen(cls, settings, environment=os.environ):
        """The study that Snakemake's config or the variable GEAR_STUDY names.

        settings: {'study': name, 'results': folder} of a command line or profile. Mistake: no study
        is named (there is no default), a key is unknown, or the images do not fit the study."""
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
        study = cls(str(name), settings.get("results", "results"))
        fit.images(study)
        return study

    # ---- reading ---------------------------------------------------------------------------

    def _pick(self, kind):
        """{name: entry} of the study's tables or figures, in the order of its list."""
        entries = read_entries(kind, self.folder)
        self.named[kind] = tuple(entries)
        where = f"studies/{self.name}.yaml"
        selection = chosen(self.spec[kind], entries, where, kind, self.stages)
        if self.spec[kind] == "all":
            selection = {k: v for k, v in selection.items() if self._has(v)}
        for name, entry in selection.items():
            if not self._has(entry):
                raise Mistake(
                    f"{where}: {kind[:-1]} '{name}' needs captions that the study makes, those of "
                    "digits; take it out."
                )
            if kind == "tables":
                entry["rows"] = self._rows(entry["rows"], f"{kind}.yaml, {name}")
            if "seeds" in entry:
                self.choice("seeds", entry["seeds"], f"{kind}.yaml, {name}")
        return selection

    def _table_specs(self):
        """{name: spec} of the tables. `tables: all` leaves out a table without a column."""
        specs = {}
        for name in tuple(self.tables):
            try:
                specs[name] = table_spec(self, name)
            except NoColumn:
                if self.spec["tables"] != "all":
                    raise
                del self.tables[name]
        return specs

    def _has(self, entry):
        """Whether the study has what a table or figure needs."""
        return not entry.get("made_captions") or self.makes_captions

    def _rows(self, rows, where):
        """The rows of a table that this study shows. Mistake: a row names an unknown study."""
        for row in rows:
            for study in row.get("studies", ()):
                if study not in studies(self.folder):
                    raise Mistake(
                        f"{where}: row '{row['row']}' names no study '{study}'. "
                        f"{did_you_mean(study, studies(self.folder))}"
                    )
        return [row for row in rows if self.name in row.get("studies", [self.name])]

    def choice(self, kind, name, where):
        """The study's entry of one size, quantizer, teacher or sampler. Mistake: no such name."""
        known = self.spec[kind]
        if name not in known:
            raise Mistake(
                f"{where}: study '{self.name}' has no {kind[:-1]} '{name}'. "
                f"{did_you_mean(name, known)}"
            )
        return known[name]

    def settings_of(self, stage):
        """{dotted name: value} of the study's settings for all runs of a Stage."""
        where, stages = f"studies/{self.name}.yaml", self.spec.get("stages") or {}
        own = config.check(stages.get(stage.name) or {}, f"{where}, {stage.name}")
        found = config.check(self.spec["settings"] or {}, where) | own
        configchecks.not_sized(found, where)
        return found

    def quantizer(self, name, where):
        """{dotted name: value} of the settings of one of the study's quantizers."""
        entry = self.choice("quantizers", name, where)
        return config.check(entry, f"studies/{self.name}.yaml, quantizers")

    # ---- asking ----------------------------------------------------------------------------

    def run(self, name, where="config"):
        """The Run of that name. Mistake: there is none."""
        return run_of(self.runs, name, where)

    def checkpoint(self, run, milestone, where="config"):
        """The Checkpoint. Mistake: there is no such run, or it has no such milestone."""
        return checkpoint(self.runs, run, milestone, where)

    def shown(self, run, milestone, where):
        """The Checkpoint that a table or figure shows.

        Mistake: as of `checkpoint`, or its teacher cannot take images of its resolution."""
        shown = self.checkpoint(run, milestone, where)
        if STAGES[shown.stage].aligns:
            settings = self.runs[run].settings
            spec = self.choice("teachers", settings.align.teacher, where)
            pixels, place = settings.data.resolution, f"{where}, {run}"
            resolutions.check(spec.get("network"), pixels, spec["label"], place)
        return shown

    def at(self, reference, where):
        """The Checkpoint of `run@milestone` in a table or figure. Mistake: as of `shown`."""
        return self.shown(*split(reference, where), where)

    def sampler(self, name, where="config"):
        return self.choice("samplers", name, where)

    def prompts(self, name, where="config"):
        """One of the study's sets of captions. Mistake: there is none of that name."""
        known = self.spec.get("prompts", {})
        if name not in known:
            cure = did_you_mean(name, known)
            raise Mistake(f"{where}: study '{self.name}' has no prompts '{name}'. {cure}")
        return known[name]

    def features_of(self, checkpoint):
        """The folder of the features on which a checkpoint's samples are scored."""
        own = STAGES[checkpoint.stage].reads_text and "text_features" in self.spec
        return f"{self.root}/{'text_features' if own else 'features'}"

    def path(self, checkpoint, noun=None):
        """The folder of a checkpoint, or of its `noun`: samples or metrics."""
        above = f"{self.root}/{noun}" if noun else self.root
        return f"{above}/{checkpoint.path}"

    def tokenizer_of(self, checkpoint):
        """The checkpoint whose tokenizer decodes its samples: itself, or the one that it froze."""
        if STAGES[checkpoint.stage].owns_tokenizer:
            return checkpoint
        return self.runs[checkpoint.run].tokenizer

    def replicas(self, name):
        """The names of the runs of one line of runs.yaml, one per seed."""
        return [r.name for r in self.runs.values() if r.base == self.runs[name].base]

    @cached_property
    def claims_specs(self):
        """{page: its spec} of the pages of claims that the study has tables for."""
        specs = {page: claims_spec(self, page) for page in pages(self)}
        return {page: spec for page, spec in specs.items() if spec["claims"] or page == "claims"}

    @property
    def claims_spec(self):
        """The spec of the page on the class-conditional models."""
        return self.claims_specs["claims"]

    @cached_property
    def needs(self):
        """Each Need of the tables and figures, once. The claims need no other files."""
        specs = (*self.table_specs.values(), *self.figure_specs.values())
        return list(dict.fromkeys(need for spec in specs for need in inputs(spec)))

    @property
    def targets(self):
        """{target: names of its tables, figures and pages of claims}."""
        tables, figures = (*self.tables, *self.claims_specs), tuple(self.figures)
        groups = {"all": tables + figures, "all_tables": tables, "all_figures": figures}
        return groups | {"quick": ("overview", "samples")} | {n: (n,) for n in groups["all"]}

    def specs(self, target):
        """The specs of a target's tables, figures and claims. Mistake: no such target."""
        if target not in self.targets:
            raise self.no_target(target)
        known = self.table_specs | self.figure_specs | self.claims_specs
        return [known[n] for n in self.targets[target]]

    def no_target(self, target):
        """The Mistake for a target that is neither a rule nor a file of the study."""
        said = f"study '{self.name}' has no target '{target}'."
        for kind, names in self.named.items():
            if target in names:
                where = f"config/studies/{self.name}.yaml"
                return Mistake(f"{said} It is in {kind}.yaml; add it to `{kind}` of {where}.")
        run, _, step = target.partition("@")
        if run in self.runs:
            steps = self.runs[run].steps
            if step in steps:
                file = f"{self.path(self.checkpoint(run, step))}/weights.safetensors"
                return Mistake(f"{said} Snakemake's target is its file, {file}.")
            known = ", ".join(f"{run}@{name}" for name in steps)
            return Mistake(f"{said} It is a run; `gear run` takes one of its steps: {known}.")
        return Mistake(f"{said} {did_you_mean(target, [*self.targets, *self.runs])}")

    def file_of(self, target):
        """The file that `run@step` stands for; other targets unchanged."""
        run, _, step = target.partition("@")
        if not step:
            return target
        return f"{self.path(self.checkpoint(run, step, 'gear run'))}/weights.safetensors"

    @property
    def data(self):
        """The data settings that all runs share, except for their resolution."""
        return next(iter(self.runs.values())).settings.data

    @property
    def makes_data(self):
        """Whether a rule makes the images; otherwise it lists those of a folder."""
        return self.data.source == "digits"

    @property
    def makes_captions(self):
        """Whether the captions are those of the digits, whose words can be measured on pictures."""
        text = self.spec["protocols"].get("text", {}).get("name")
        return self.makes_data and text == "demo_text"

    @cached_property
    def captioned(self):
        """The data settings of the runs that read captions, or None where there are none."""
        runs = (run.settings for run in self.runs.values())
        return next((settings.data for settings in runs if settings.reads_text), None)

    def manifest(self, name=None):
        """The path of manifest.json of a run's images, or of the study's images."""
        if name and self.runs[name].settings.reads_text:
            return f"{self.root}/captions/manifest.json"
        data = self.runs[name].settings.data if name else self.data
        folder = data.path if self.makes_data else f"{self.root}/data"
        return f"{folder}/manifest.json"

    def network(self, quantizer):
        """The settings of the study's tokenizer with that quantizer, without changes of a run."""
        where = f"studies/{self.name}.yaml"
        stage = next(stage for stage in STAGES.values() if stage.public)
        flat = {"tokenizer.quantizer": quantizer} | self.settings_of(stage)
        return config.build(flat | self.quantizer(quantizer, where), where)

    def initial(self, name):
        """The folder of the checkpoint whose tokenizer a run starts from or freezes, or None.

        A run of the tokenizer stage starts from public weights of its quantizer, if the study
        names a file of them."""
        run = self.runs[name]
        if run.tokenizer:
            return self.path(run.tokenizer)
        quantizer = run.settings.tokenizer.quantizer
        public = STAGES[run.stage].public and run.from_public
        if public and quantizer in self.spec.get("public", {}):
            return f"{self.root}/public/{quantizer}"
        return None
